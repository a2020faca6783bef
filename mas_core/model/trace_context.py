"""Trace context as W3C Trace Context has it (https://www.w3.org/TR/trace-context/), in the headers of a message.

A message without one still belongs to a trace: ids that it did not get derive from its sender and its own id, so
whoever sees the message works out the same ones, nobody has to send them, and what is judged or handled a second
time gives the same spans again. Headers are signed by senders, so a gateway reads them and writes none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, Literal

import msgspec

TRACE_PARENT: Final = "traceparent"
TRACE_STATE: Final = "tracestate"
MAX_STATE: Final = 512
"""Characters of a tracestate that are passed on; a longer one is left out."""

_VERSION_00 = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_LATER = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL)
_STATE = re.compile(r"[\x20-\x7e]*")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_LOW_BITS: Final = 1 << 64

SpanKind = Literal["send", "gateway", "delivery", "handle", "event"]


class TraceContext(msgspec.Struct, frozen=True):
    """Where in which trace something happens."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits: what comes next is a child of this."""
    is_sampled: bool
    state: str = ""
    """What other systems along the way say; passed on as it is."""

    @property
    def parent_text(self) -> str:
        """As a `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


def is_trace_parent(text: str) -> bool:
    """Whether a text is a well-formed `traceparent` of the version that there is."""
    return _VERSION_00.fullmatch(text) is not None


def context_in(headers: Mapping[str, str] | None) -> TraceContext | None:
    """The trace context that headers name; None where they name none, or one that is not well-formed."""
    text = headers.get(TRACE_PARENT) if headers else None
    if headers is None or text is None:
        return None
    found = _VERSION_00.fullmatch(text) or (None if text.startswith("00") else _LATER.fullmatch(text))
    if found is None or found[1] == _NO_TRACE or found[2] == _NO_SPAN:
        return None
    state = headers.get(TRACE_STATE, "")
    if len(state) > MAX_STATE or not _STATE.fullmatch(state):
        state = ""
    return TraceContext(found[1], found[2], bool(int(found[3], 16) & 1), state)


def with_context(headers: Mapping[str, str] | None, context: TraceContext) -> dict[str, str]:
    """Headers that name this context instead of any other."""
    named = {**(headers or {}), TRACE_PARENT: context.parent_text}
    named.pop(TRACE_STATE, None)
    if context.state:
        named[TRACE_STATE] = context.state
    return named


def trace_id_of(sender: str, message_id: str) -> str:
    """The trace of a message that names none."""
    return blake2b(f"{sender} {message_id}".encode(), digest_size=16, person=b"mas.trace").hexdigest()


def implied_trace(sender: str, message_id: str, target: str = "", correlation: str = "") -> str:
    """The trace of a message without a context: its own, or of an answer that of the request.

    Args:
        sender: Who sent it.
        message_id: Its id.
        target: Of an answer: who asked.
        correlation: Of an answer: the id of the request.
    """
    return trace_id_of(target, correlation) if correlation else trace_id_of(sender, message_id)


def span_id_of(kind: SpanKind, sender: str, message_id: str, part: object = "") -> str:
    """The span of one step in the life of a message.

    Args:
        kind: Which step.
        sender: Who sent it.
        message_id: Its id, which is its sender's choice.
        part: Tells steps of the same kind apart, such as the number of an attempt.
    """
    text = f"{kind} {sender} {message_id} {part}"
    return blake2b(text.encode(), digest_size=8, person=b"mas.span").hexdigest()


def is_taken(trace_id: str, ratio: float) -> bool:
    """Whether a trace is among the share that is sampled; every process decides alike.

    As the sampler TraceIdRatioBased of OpenTelemetry decides it, by the lower half of the id.
    """
    return int(trace_id[16:], 16) < ratio * _LOW_BITS
