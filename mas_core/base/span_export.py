"""Exports spans over OTLP/HTTP, from a thread of its own, and never in the way of a message.

OpenTelemetry is imported by that thread, and only once there is something to export. What does not fit into the
queue, or is not taken by the collector, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

from mas_core.base.logs import get_logger
from mas_core.base.spans import Span, shown

log = get_logger(__name__)

MAX_WAITING: Final = 20_000
"""Spans that wait to be exported, about; more are dropped."""
MAX_TOGETHER: Final = 512
"""Spans of one request to the collector."""
INTERVAL_S: Final = 0.5
"""How long spans are gathered before they are exported."""
TIMEOUT_S: Final = 5.0
"""Seconds that a collector may take; OTEL_EXPORTER_OTLP_TIMEOUT says otherwise."""
AT_END_S: Final = 1.0
"""How long who stops waits for the last spans."""
TELL_EVERY_S: Final = 60.0
"""How often it is said that spans are dropped, while that is so."""

Making = Callable[[], Iterable[Span]]
"""Makes spans in the exporting thread, out of what was at hand when they were put."""


class SpanExporter:
    """Takes spans and posts them.

    Args:
        url: Where to.
    """

    _open: ClassVar[dict[str, SpanExporter]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, url: str) -> None:
        self.url = url
        self.exported = 0
        """Spans that the collector took."""
        self.dropped = 0
        """Spans that nobody got."""
        self._queue: deque[tuple[Making, int]] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._is_idle = False
        self._is_closing = False
        self._told_at = -TELL_EVERY_S

    @classmethod
    def to(cls, url: str) -> SpanExporter:
        """The exporter of this process to a collector; all agents and gateways in it share it."""
        with cls._opening:
            found = cls._open.get(url)
            if found is None:
                found = cls._open[url] = cls(url)
            return found

    def put(self, make: Making, count: int = 1) -> bool:
        """Export what `make` gives; returns at once.

        Args:
            make: Called later, in another thread.
            count: How many spans that will be, at most.

        Returns:
            Whether there was room; if not, they are dropped.
        """
        with self._changed:
            if self._waiting + count > MAX_WAITING and self._waiting:
                self.dropped += count
                return False
            self._queue.append((make, count))
            self._waiting += count
            if self._is_idle:
                self._is_idle = False
                self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mas-spans", daemon=True)
                self._thread.start()
        return True

    def flush(self, within_s: float) -> bool:
        """Export what waits now; whether all of it was tried in time."""
        deadline = time.monotonic() + within_s
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(
                    lambda: not self._waiting and not self._is_busy, deadline - time.monotonic()
                )
            finally:
                self._is_closing = False

    async def end(self) -> None:
        """Export what waits, as far as that is possible in a moment; for who stops."""
        if self._waiting or self._is_busy:
            await asyncio.to_thread(self.flush, AT_END_S)

    def _work(self) -> None:
        export = _exporting(self.url)
        while True:
            with self._changed:
                if not self._queue:
                    self._is_busy, self._is_idle = False, True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._queue)
                if not self._is_closing:
                    self._changed.wait_for(lambda: self._is_closing, INTERVAL_S)
                taken: list[Making] = []
                count = 0
                while self._queue and (not taken or count + self._queue[0][1] <= MAX_TOGETHER):
                    make, size = self._queue.popleft()
                    taken.append(make)
                    count += size
                self._waiting -= count
                self._is_busy = True
            self._export(export, taken, count)

    def _export(self, export: Callable[[Sequence[Span]], bool], taken: Sequence[Making], count: int) -> None:
        made: list[Span] = []
        try:
            for make in taken:
                made += make()
            while made:
                batch, made = made[:MAX_TOGETHER], made[MAX_TOGETHER:]
                if export(batch):
                    self.exported += len(batch)
                else:
                    self._drop(len(batch))
        except Exception as error:  # noqa: BLE001 - whatever a collector or a library does, the thread goes on
            self._drop(len(made) or count, type(error).__name__)

    def _drop(self, count: int, why: str = "the collector did not take them") -> None:
        with self._changed:
            self.dropped += count
        if time.monotonic() - self._told_at > TELL_EVERY_S:
            self._told_at = time.monotonic()
            log.warning("spans.dropped", dropped=self.dropped, exported=self.exported, reason=why)


def _exporting(url: str) -> Callable[[Sequence[Span]], bool]:
    """What exports spans over OpenTelemetry; where that is not installed, what exports none."""
    try:
        from opentelemetry import context, trace  # noqa: PLC0415 - an extra, and imported only when it is used
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import Event, ReadableSpan  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415
    except ImportError:
        log.warning(
            "spans.unavailable", reason="OpenTelemetry is not installed", hint="pip install 'mas[otel]'"
        )
        return lambda _spans: False
    # Without a handler, logging would write what the library has to say to standard error, and not as JSON.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    # Nobody traces the export of traces.
    for name in ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY"):
        if key := getattr(context, name, None):
            context.attach(context.set_value(key, True))
    timeout = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else TIMEOUT_S
    exporter = OTLPSpanExporter(endpoint=url, timeout=timeout)
    scope = InstrumentationScope("mas")
    resources: dict[str, Any] = {}
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)

    def resource_of(service: str) -> Any:
        found = resources.get(service)
        if found is None:
            name = os.environ.get("OTEL_SERVICE_NAME") or service
            found = resources[service] = Resource.create({"service.name": name, "mas.member": service})
        return found

    def readable(span: Span) -> Any:
        trace_id = int(span.trace_id, 16)
        state = trace.TraceState.from_header([span.state]) if span.state else trace.TraceState()
        own = trace.SpanContext(trace_id, int(span.span_id, 16), False, flags, state)
        parent = None
        if span.parent_id:
            parent = trace.SpanContext(trace_id, int(span.parent_id, 16), True, flags)
        code = trace.StatusCode.ERROR if span.error else trace.StatusCode.UNSET
        return ReadableSpan(
            span.name,
            own,
            parent,
            resource_of(span.service),
            {name: shown(value) for name, value in span.attributes.items()},
            [
                Event(
                    event.name, {name: shown(value) for name, value in event.attributes.items()}, event.at_ns
                )
                for event in span.events
            ],
            kind=trace.SpanKind[span.kind.upper()],
            status=trace.Status(code, str(shown(span.error)) if span.error else None),
            start_time=span.begin_ns,
            end_time=max(span.begin_ns, span.end_ns),
            instrumentation_scope=scope,
        )

    def export(spans: Sequence[Span]) -> bool:
        return exporter.export([readable(span) for span in spans]) is SpanExportResult.SUCCESS

    return export
