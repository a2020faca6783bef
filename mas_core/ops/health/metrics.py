"""An observation as metrics in the text format of Prometheus.

Names follow its conventions: a unit at the end, `_total` for what only grows. How many series there are is bounded
by what operators named (partitions, gateways, runners) and for agents by a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mas_core.ops.health.observation import Observation
from mas_core.ops.health.report import HealthReport

MAX_AGENTS = 200
"""Agents that have series of their own, the first by id; `mas_agents` counts all."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_text(report: HealthReport, seen: Observation | None) -> bytes:
    """The metrics of one look; without an observation only that the store is not up and what that makes red."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(list(_families(report, seen))))
    return generate_latest(registry)


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One number."""

    name: str
    """As on the wire, `_total` of counters included."""
    labels: Mapping[str, str]
    value: float
    is_counter: bool
    """Whether it only grows."""


def metric_samples(report: HealthReport, seen: Observation | None, agent_id: str = "") -> list[MetricSample]:
    """The same as numbers; with an `agent_id` only those of this agent, whatever its place among all."""
    if agent_id and seen is not None:
        mine = tuple(item for item in seen.agents if item.progress.agent_id == agent_id)
        seen = replace(seen, agents=mine)
    return [
        MetricSample(sample.name, sample.labels, sample.value, family.type == "counter")
        for family in _families(report, seen)
        for sample in family.samples
        if not agent_id or sample.labels.get("agent") == agent_id
    ]


class _Families(Collector):
    """Metrics that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._found = list(families)

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._found


def _families(report: HealthReport, seen: Observation | None) -> Iterator[Metric]:
    yield _gauge("mas_store_up", "Whether the store answered.", [((), seen is not None)])
    counts = dict.fromkeys(("ok", "warn", "red"), 0)
    for item in report.items:
        counts[item.status] += 1
    yield _gauge(
        "mas_health_items",
        "Parts of the system by their health.",
        [((status,), count) for status, count in counts.items()],
        "status",
    )
    if seen is not None:
        yield from _of_partitions(seen)
        yield from _of_processes(seen)
        yield from _of_agents(seen)
        yield from _of_servers(seen)


def _of_partitions(seen: Observation) -> Iterator[Metric]:
    by = [(str(item.partition), item) for item in seen.partitions]
    yield _gauge(
        "mas_partition_waiting_frames",
        "Frames that wait for a gateway.",
        [((name,), item.waiting) for name, item in by],
        "partition",
    )
    yield _gauge(
        "mas_partition_oldest_frame_age_seconds",
        "How long the oldest of them has waited.",
        [((name,), (seen.now - item.oldest) / 1000 if item.oldest else 0) for name, item in by],
        "partition",
    )
    yield _gauge(
        "mas_partition_last_move_timestamp_seconds",
        "When its cursor moved last.",
        [((name,), item.moved / 1000) for name, item in by],
        "partition",
    )
    yield _gauge(
        "mas_partition_owned",
        "Whether a gateway has its lease.",
        [((name,), item.lease >= seen.now) for name, item in by],
        "partition",
    )
    yield _counter(
        "mas_audit_records",
        "Audit records written.",
        [((name,), item.audit_seq) for name, item in by],
        "partition",
    )
    signed: dict[str, int] = {}
    for notary in seen.notaries:
        for evidence in notary.partitions:
            name = str(evidence.partition)
            signed[name] = max(signed.get(name, 0), evidence.signed)
    yield _counter(
        "mas_audit_signed_records",
        "Audit records that a signed checkpoint covers.",
        [((name,), count) for name, count in signed.items()],
        "partition",
    )


def _of_processes(seen: Observation) -> Iterator[Metric]:
    yield _counter(
        "mas_gateway_messages",
        "Messages that it has judged.",
        [((item.gateway_id,), item.messages) for item in seen.gateways],
        "gateway",
    )
    yield _counter(
        "mas_gateway_refused_messages",
        "Messages that it did not accept.",
        [((item.gateway_id,), item.refused) for item in seen.gateways],
        "gateway",
    )
    yield _gauge(
        "mas_gateway_wait_seconds",
        "How long 95 of 100 of its newest messages lay at most before they were judged.",
        [((item.gateway_id,), item.p95_ms / 1000) for item in seen.gateways if item.p95_ms is not None],
        "gateway",
    )
    yield _counter(
        "mas_gateway_cpu_seconds",
        "Processor time that it has used.",
        [((item.gateway_id,), item.cpu_s) for item in seen.gateways],
        "gateway",
    )
    yield _gauge(
        "mas_gateway_alarms",
        "What it says is wrong.",
        [((item.gateway_id,), len(item.alarms)) for item in seen.gateways],
        "gateway",
    )
    yield _counter(
        "mas_trace_spans",
        "Spans that a collector took of its process.",
        [((item.gateway_id,), item.spans) for item in seen.gateways],
        "gateway",
    )
    yield _counter(
        "mas_trace_dropped_spans",
        "Spans of its process that nobody got.",
        [((item.gateway_id,), item.spans_dropped) for item in seen.gateways],
        "gateway",
    )
    lags = [(item.gateway_id, item.loop_lag_ms) for item in seen.gateways]
    lags += [(item.server_id, item.loop_lag_ms) for item in seen.agent_servers]
    lags += [(item.runner_id, item.loop_lag_ms) for item in seen.runners]
    yield _gauge(
        "mas_event_loop_lag_seconds",
        "How late its event loop was at worst within ten seconds.",
        [((name,), lag / 1000) for name, lag in lags],
        "process",
    )
    yield _gauge(
        "mas_agent_server_agents",
        "Agents that are connected to it.",
        [((item.server_id,), item.agents) for item in seen.agent_servers],
        "server",
    )
    yield _counter(
        "mas_agent_server_refused",
        "How often it has let somebody not in.",
        [((item.server_id,), item.refused) for item in seen.agent_servers],
        "server",
    )
    yield _gauge(
        "mas_agent_server_certificate_end_timestamp_seconds",
        "When its certificate ends.",
        [((item.server_id,), item.certificate_ends / 1000) for item in seen.agent_servers],
        "server",
    )
    yield _gauge(
        "mas_runner_instances",
        "Instances that it looks after.",
        [((item.runner_id,), item.instances) for item in seen.runners],
        "runner",
    )


def _of_agents(seen: Observation) -> Iterator[Metric]:
    running = sum(bool(item.running) for item in seen.agents)
    yield _gauge(
        "mas_agents",
        "Registered agents.",
        [(("running",), running), (("stopped",), len(seen.agents) - running)],
        "state",
    )
    yield _gauge(
        "mas_backlog_messages",
        "Messages delivered and not settled, of all agents.",
        [((), sum(item.progress.backlog for item in seen.agents))],
    )
    named = sorted(seen.agents, key=lambda item: item.progress.agent_id)[:MAX_AGENTS]
    by = [(item.progress.agent_id, item) for item in named]
    yield _gauge(
        "mas_agent_backlog_messages",
        "Messages delivered and not settled.",
        [((name,), item.progress.backlog) for name, item in by],
        "agent",
    )
    yield _counter(
        "mas_agent_handled_messages",
        "Messages that it has handled.",
        [((name,), item.progress.handled) for name, item in by],
        "agent",
    )
    yield _gauge(
        "mas_agent_instances",
        "Instances that run.",
        [((name,), len(item.running)) for name, item in by],
        "agent",
    )


def _of_servers(seen: Observation) -> Iterator[Metric]:
    yield _gauge(
        "mas_server_memory_bytes",
        "Memory that the server uses.",
        [((item.place,), item.memory_bytes) for item in seen.servers],
        "server",
    )
    yield _gauge(
        "mas_server_memory_limit_bytes",
        "Memory that it may use; 0 for all there is.",
        [((item.place,), item.memory_limit) for item in seen.servers],
        "server",
    )


def _gauge(name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family


def _counter(name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family
