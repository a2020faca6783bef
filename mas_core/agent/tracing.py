"""The trace context of what an agent sends and handles, and its spans where they are exported.

Nothing is imported for it: a span of the program's own counts as parent only where the program has imported
OpenTelemetry itself. Without an exporter a context that is there is passed on, and none is begun.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Awaitable, Iterator
from typing import Any, Final

from mas_core.agent.turn import Turn, current_turn
from mas_core.base.span_export import SpanExporter
from mas_core.base.spans import Span, Value
from mas_core.errors import MasError, Refused
from mas_core.model.decision import Receipt
from mas_core.model.message import AgentMessage, Delivery, Envelope, Flag
from mas_core.model.trace_context import (
    TraceContext,
    context_in,
    implied_trace,
    is_taken,
    span_id_of,
    with_context,
)
from mas_core.settings.tracing import TracingTarget, tracing_target

_API: Final = "opentelemetry.trace"
_SDK: Final = "opentelemetry.sdk.trace"
MAX_OWN_HEADERS: Final = 30
"""Headers of a message beside which there is room for a trace context."""


class OpenSpan:
    """A message that is being sent."""

    __slots__ = ("_began", "_context", "_envelope", "_exporter", "_parent", "_sender")

    def __init__(
        self, exporter: SpanExporter, sender: str, envelope: Envelope, context: TraceContext, parent: str
    ) -> None:
        self._exporter = exporter
        self._sender = sender
        self._envelope = envelope
        self._context = context
        self._parent = parent
        self._began = time.time_ns()

    async def around(self, sending: Awaitable[Receipt]) -> Receipt:
        """Send, and export the span once it is known what became of it."""
        try:
            receipt = await sending
        except MasError as error:
            self.end(error.code, is_refused=isinstance(error, Refused))
            raise
        self.end("" if receipt.decision.is_accepted else receipt.decision, receipt=receipt)
        return receipt

    def end(
        self,
        error: str = "",
        *,
        is_refused: bool = False,
        receipt: Receipt | None = None,
        reply: Delivery | None = None,
    ) -> None:
        """Export it: what is sampled, and what was refused in any case."""
        refused = is_refused or (receipt is not None and not receipt.decision.is_accepted)
        if not (self._context.is_sampled or refused):
            return
        envelope = self._envelope
        is_request = bool(envelope.flags & Flag.EXPECTS_REPLY)
        what = "request" if is_request else "reply" if envelope.flags & Flag.IS_REPLY else "send"
        attributes = _attributes("send", self._sender, envelope)
        if receipt is not None:
            attributes["mas.decision"] = receipt.decision.value
        span = Span(
            f"{what} {envelope.type}", "client" if is_request else "producer", self._sender,
            self._context.trace_id, self._context.span_id, self._parent, self._began, time.time_ns(),
            attributes, error=error, state=self._context.state,
        )  # fmt: skip
        self._exporter.put(lambda: (span,))
        if reply is not None:
            arrived = _delivery_span(reply, self._sender, self._context, time.time_ns())
            self._exporter.put(lambda: (arrived,))


class AgentTracing:
    """What one agent says of its messages.

    Args:
        agent_id: The agent.
        target: Where spans go; what the environment says when left out.
    """

    def __init__(self, agent_id: str, target: TracingTarget | None = None) -> None:
        self._agent_id = agent_id
        target = target or tracing_target()
        self._ratio = target.ratio if target is not None else 0.0
        self._exporter = SpanExporter.to(target.url) if target is not None else None

    async def end(self) -> None:
        """Export the last spans, as far as that is possible in a moment."""
        if self._exporter is not None:
            await self._exporter.end()

    def begin(self, envelope: Envelope) -> OpenSpan | None:
        """Let a message carry the context that it is sent in; its span, where spans are exported."""
        turn, api = current_turn.get(), _api_in_use()
        if turn is None and api is None and self._exporter is None:
            return None
        given = context_in(envelope.headers)
        own = span_id_of("send", self._agent_id, envelope.id)
        if given is not None and given.span_id == own:
            return None
        parent = given or _of_program(api) or (self._of_turn(turn) if turn is not None else None)
        if given is None and self._exporter is None and turn is not None and _is_implied(envelope, turn):
            return None
        has_room = envelope.headers is None or len(envelope.headers) <= MAX_OWN_HEADERS
        if self._exporter is None:
            if parent is not None and given is None and has_room:
                envelope.headers = with_context(envelope.headers, parent)
            return None
        if parent is not None:
            context = TraceContext(parent.trace_id, own, parent.is_sampled, parent.state)
        else:
            correlation = envelope.correlation if envelope.flags & Flag.IS_REPLY else ""
            trace_id = implied_trace(self._agent_id, envelope.id, envelope.target, correlation)
            context = TraceContext(trace_id, own, is_taken(trace_id, self._ratio))
        if has_room:
            envelope.headers = with_context(envelope.headers, context)
        return OpenSpan(
            self._exporter, self._agent_id, envelope, context, parent.span_id if parent is not None else ""
        )

    def context_of(self, message: AgentMessage) -> TraceContext:
        """In which context what the handling of a message sends is sent."""
        given = context_in(message.headers)
        trace_id = given.trace_id if given else _implied_trace(message)
        is_sampled = message.is_traced or (given is not None and given.is_sampled)
        if given is None and not is_sampled and self._exporter is not None:
            is_sampled = is_taken(trace_id, self._ratio)
        if self._exporter is not None and is_sampled:
            span_id = self._handler_span(message)
        elif given is not None and not message.is_traced:
            span_id = given.span_id
        else:
            span_id = span_id_of("gateway", message.sender_id, message.message_id)
        return TraceContext(trace_id, span_id, is_sampled, given.state if given else "")

    def trace_of(self, delivery: Delivery) -> str:
        """The trace that a delivered message belongs to, for logs."""
        given = context_in(delivery.headers)
        if given is not None:
            return given.trace_id
        return implied_trace(delivery.sender, delivery.id, delivery.target, delivery.correlation)

    def put_reply(self, envelope: Envelope, message: AgentMessage) -> None:
        """Let an answer carry the context of what it answers, whoever sends it and when.

        Without one, the answer to a message that has none either is known to belong to its trace.
        """
        turn = current_turn.get()
        if turn is not None and turn.message is message and _api_in_use() is not None:
            return
        if self._exporter is not None or context_in(message.headers) is not None:
            envelope.headers = with_context(None, self.context_of(message))

    @property
    def sees_handlers(self) -> bool:
        """Whether anybody cares when a handler runs."""
        return self._exporter is not None or _api_in_use() is not None

    @contextlib.contextmanager
    def handling(self, message: AgentMessage, turn: Turn) -> Iterator[None]:
        """Around a run of a handler: spans that the program begins in it are its children."""
        api = _api_in_use()
        context = turn.trace = self.context_of(message)
        detach = _attached(api, context)
        began = time.time_ns()
        try:
            yield
        finally:
            detach()
            exporter = self._exporter
            if exporter is not None and context.is_sampled and turn.is_over:
                ended, error = time.time_ns(), turn.failure
                exporter.put(lambda: self._spans_of(message, context, began, ended, error), 2)

    def _spans_of(
        self, message: AgentMessage, context: TraceContext, began: int, ended: int, error: str
    ) -> tuple[Span, Span]:
        given = context_in(message.headers)
        delivery = Span(
            f"deliver {message.message_type}", "internal", self._agent_id, context.trace_id,
            span_id_of("delivery", message.sender_id, message.message_id, f"{self._agent_id} {message.attempt}"),
            _before_delivery(message.sender_id, message.message_id, given, is_traced=message.is_traced),
            round(message.timestamp * 1000) * 1_000_000, began,
            _message_attributes("deliver", message), state=context.state,
        )  # fmt: skip
        delivery.begin_ns = min(delivery.begin_ns, delivery.end_ns)
        handled = Span(
            f"handle {message.message_type}", "consumer", self._agent_id, context.trace_id, context.span_id,
            delivery.span_id, began, ended, _message_attributes("process", message), error=error,
            state=context.state,
        )  # fmt: skip
        return delivery, handled

    def _handler_span(self, message: AgentMessage) -> str:
        part = f"{self._agent_id} {message.attempt} {message.takeovers}"
        return span_id_of("handle", message.sender_id, message.message_id, part)

    def _of_turn(self, turn: Turn) -> TraceContext | None:
        if turn.trace is None and turn.message is not None:
            turn.trace = self.context_of(turn.message)
        return turn.trace


def _implied_trace(message: AgentMessage) -> str:
    correlation = message.meta.correlation_id if message.is_reply else ""
    return implied_trace(message.sender_id, message.message_id, message.target_id, correlation)


def _is_implied(envelope: Envelope, turn: Turn) -> bool:
    """Whether an answer says by itself to which trace it belongs."""
    message = turn.message
    return (
        bool(envelope.flags & Flag.IS_REPLY)
        and message is not None
        and envelope.correlation == message.message_id
        and context_in(message.headers) is None
    )


def _api_in_use() -> Any:
    """The API of OpenTelemetry where the program has spans of its own; redis-py imports it for nothing."""
    api = sys.modules.get(_API)
    if api is None or (_SDK not in sys.modules and getattr(api, "_TRACER_PROVIDER", None) is None):
        return None
    return api


def _of_program(api: Any) -> TraceContext | None:
    """The span that the program itself is in."""
    if api is None:
        return None
    found = api.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    state = found.trace_state.to_header() if found.trace_state else ""
    return TraceContext(f"{found.trace_id:032x}", f"{found.span_id:016x}", bool(found.trace_flags & 1), state)


def _attached(api: Any, context: TraceContext) -> Any:
    """Make a context the current one of OpenTelemetry; gives what takes it back."""
    if api is None:
        return lambda: None
    from opentelemetry import context as contexts  # noqa: PLC0415 - the program has imported it

    state = api.TraceState.from_header([context.state]) if context.state else None
    remote = api.SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=api.TraceFlags(1 if context.is_sampled else 0),
        trace_state=state,
    )
    mark = contexts.attach(api.set_span_in_context(api.NonRecordingSpan(remote)))
    return lambda: contexts.detach(mark)


def _before_delivery(sender: str, message_id: str, given: TraceContext | None, *, is_traced: bool) -> str:
    """The span that a delivery follows: the gateway's, or without one the sender's."""
    if is_traced:
        return span_id_of("gateway", sender, message_id)
    return given.span_id if given is not None else ""


def _delivery_span(reply: Delivery, receiver: str, context: TraceContext, now: int) -> Span:
    is_traced = bool(reply.flags & Flag.TRACED)
    given = context_in(reply.headers)
    begin = min(reply.accepted_at * 1_000_000, now)
    attributes: dict[str, Value] = {
        "messaging.system": "mas", "messaging.operation.name": "deliver",
        "messaging.message.id": reply.id, "messaging.message.conversation_id": reply.correlation,
    }  # fmt: skip
    return Span(
        f"deliver {reply.type}", "internal", receiver, given.trace_id if given else context.trace_id,
        span_id_of("delivery", reply.sender, reply.id, f"{receiver} {reply.attempt}"),
        _before_delivery(reply.sender, reply.id, given, is_traced=is_traced) or context.span_id,
        begin, now, attributes,
    )  # fmt: skip


def _attributes(operation: str, sender: str, envelope: Envelope) -> dict[str, Value]:
    return {
        "messaging.system": "mas",
        "messaging.operation.name": operation,
        "messaging.destination.name": envelope.target,
        "messaging.message.id": envelope.id,
        "messaging.message.body.size": len(envelope.data),
        "mas.sender": sender,
        "mas.type": envelope.type,
        "mas.priority": envelope.priority,
    }


def _message_attributes(operation: str, message: AgentMessage) -> dict[str, Value]:
    return {
        "messaging.system": "mas",
        "messaging.operation.name": operation,
        "messaging.destination.name": message.target_id,
        "messaging.message.id": message.message_id,
        "mas.sender": message.sender_id,
        "mas.type": message.message_type,
        "mas.attempt": message.attempt,
    }
