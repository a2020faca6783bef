"""Spans of a gateway's decisions, made from the audit records of a batch once it is committed.

They tell what `mas trace` tells, by the same times: a span begins when the message came in and ends when it was
decided, and the stages are moments in it. They are made in the exporter's thread; an owner only hands over the
block of records that it has committed anyway.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

from mas_core.audit.chain import decode_record
from mas_core.base.span_export import SpanExporter
from mas_core.base.spans import Span, SpanEvent, Value
from mas_core.gateway.transit import Transit
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import ACCEPTED, Decision
from mas_core.model.trace_context import TraceContext, context_in, implied_trace, is_taken, span_id_of
from mas_core.settings.tracing import TracingTarget

MAX_REMEMBERED: Final = 10_000
"""Messages whose trace is remembered, for what happens to them later."""
LATER_KINDS: Final = ("delivery.", "dlq.", "approval.", "schedule.")
"""Kinds of records that tell what happened to a message after it was decided."""


class GatewayTracing:
    """Decides which messages are traced, and exports their spans.

    Args:
        target: Where spans go, and of which share.
        gateway_id: Whose spans they are.
    """

    def __init__(self, target: TracingTarget, gateway_id: str) -> None:
        self._ratio = target.ratio
        self._gateway_id = gateway_id
        self._exporter = SpanExporter.to(target.url)
        self._remembered: OrderedDict[str, TraceContext] = OrderedDict()

    @property
    def exported(self) -> int:
        """Spans of this process that the collector took."""
        return self._exporter.exported

    @property
    def dropped(self) -> int:
        """Spans of this process that nobody got."""
        return self._exporter.dropped

    async def end(self) -> None:
        """Export the last spans, as far as that is possible in a moment."""
        await self._exporter.end()

    def takes(self, transit: Transit) -> bool:
        """Whether a message is sampled: as its sender says, or by its trace."""
        envelope = transit.envelope
        given = context_in(envelope.headers)
        if given is not None:
            return given.is_sampled
        correlation = envelope.correlation if transit.is_reply else ""
        trace_id = implied_trace(transit.sender, envelope.id, envelope.target, correlation)
        return is_taken(trace_id, self._ratio)

    def put(self, block: bytes, contexts: Mapping[int, TraceContext], partition: int) -> None:
        """Export what these records tell.

        Args:
            block: Records that are committed, a line each.
            contexts: Number of a record -> the trace context that its message came with.
            partition: Where they were committed.
        """
        self._exporter.put(lambda: self._spans(block, contexts, partition), block.count(b"\n") + 1)

    def _spans(self, block: bytes, contexts: Mapping[int, TraceContext], partition: int) -> Iterator[Span]:
        stages: Mapping[str, int] = {}
        for line in block.split(b"\n"):
            record = decode_record(line)
            if record.kind == "message":
                # The first of the messages that were judged together leads their times.
                stages = record.stages_us or stages
                span = self._decided(record, contexts.get(record.seq), stages)
            elif record.message_id and record.kind.startswith(LATER_KINDS):
                span = self._later(record)
            else:
                continue
            if span is not None:
                span.attributes |= {"mas.partition": partition, "mas.audit.seq": record.seq}
                yield span

    def _decided(
        self, record: AuditRecord, given: TraceContext | None, stages: Mapping[str, int]
    ) -> Span | None:
        is_accepted = record.decision in ACCEPTED
        trace_id = given.trace_id if given else _trace_of(record)
        is_sampled = given.is_sampled if given else is_taken(trace_id, self._ratio)
        if is_accepted and not is_sampled:
            return None
        part = record.seq if not record.message_id or record.decision == Decision.REPLAYED else ""
        span_id = span_id_of("gateway", record.sender, record.message_id, part)
        parent = given.span_id if given else ""
        if not parent and record.correlation_id:
            # Of an answer that names no trace: it follows the request.
            parent = span_id_of("gateway", record.target, record.correlation_id)
        state = given.state if given else ""
        self._remember(record.message_id, TraceContext(trace_id, span_id, is_sampled=True, state=state))
        decided_ns = record.time * 1_000_000
        end_ns = decided_ns
        events = []
        for name, took_us in stages.items():
            events.append(SpanEvent(f"stage {name}", end_ns, {"mas.stage.us": took_us}))
            end_ns += took_us * 1000
        return Span(
            f"gateway {record.type or 'message'}", "internal", self._gateway_id, trace_id, span_id, parent,
            decided_ns - record.waited_ms * 1_000_000, end_ns, _attributes(record), tuple(events),
            "" if is_accepted else record.decision, state,
        )  # fmt: skip

    def _later(self, record: AuditRecord) -> Span | None:
        before = self._remembered.get(record.message_id)
        if before is None:
            return None
        at_ns = record.time * 1_000_000
        attributes = _attributes(record)
        attempt = record.details.get("attempt")
        if isinstance(attempt, int):
            attributes["mas.attempt"] = attempt
        span_id = span_id_of("event", record.sender, record.message_id, record.seq)
        return Span(
            record.kind, "internal", self._gateway_id, before.trace_id, span_id, before.span_id, at_ns, at_ns,
            attributes, error="dead" if record.kind == "delivery.dead" else "", state=before.state,
        )  # fmt: skip

    def _remember(self, message_id: str, context: TraceContext) -> None:
        if message_id:
            self._remembered[message_id] = context
            self._remembered.move_to_end(message_id)
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)


def _trace_of(record: AuditRecord) -> str:
    if not record.message_id:
        return implied_trace(record.gateway, f"{record.seq} {record.time}")
    return implied_trace(record.sender, record.message_id, record.target, record.correlation_id)


def _attributes(record: AuditRecord) -> dict[str, Value]:
    """What a record tells that is no payload: reasons and findings name rules and places, not what was found."""
    attributes: dict[str, Value] = {
        "messaging.system": "mas",
        "messaging.operation.name": "decide" if record.kind == "message" else record.kind,
        "messaging.destination.name": record.target,
        "messaging.message.id": record.message_id,
        "mas.sender": record.sender,
        "mas.type": record.type,
    }
    if record.kind == "message":
        attributes |= {
            "messaging.message.body.size": record.size,
            "mas.decision": record.decision,
            "mas.waited_ms": record.waited_ms,
        }
    if record.rule:
        attributes["mas.rule"] = record.rule
    if record.reason:
        attributes["mas.reason"] = record.reason
    if record.findings:
        attributes["mas.findings"] = ", ".join(sorted({finding.rule for finding in record.findings}))
    return attributes
