"""One stretch of time in the life of a message, as it is exported; knows nothing of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

MAX_TEXT: Final = 256
"""Characters of an attribute: some come off the wire."""

Value = str | int | float | bool


class SpanEvent(msgspec.Struct, frozen=True):
    """A moment within a span."""

    name: str
    at_ns: int
    """Unix nanoseconds."""
    attributes: Mapping[str, Value] = {}


class Span(msgspec.Struct):
    """One stretch of time."""

    name: str
    kind: Literal["internal", "producer", "consumer", "client"]
    service: str
    """Whose time it is: a gateway, or an agent."""
    trace_id: str
    span_id: str
    parent_id: str
    """Empty at the beginning of a trace."""
    begin_ns: int
    """Unix nanoseconds."""
    end_ns: int
    attributes: dict[str, Value] = {}
    events: tuple[SpanEvent, ...] = ()
    error: str = ""
    """Why it failed, in a word or two; never a text of an exception, which may hold a payload."""
    state: str = ""
    """The `tracestate` that it goes with."""


def shown(value: Value) -> Value:
    """An attribute's value as it may leave the system: of bounded length, in one line, and nothing but text."""
    if not isinstance(value, str):
        return value
    cut = value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
    return "".join(character if character.isprintable() else "�" for character in cut)
