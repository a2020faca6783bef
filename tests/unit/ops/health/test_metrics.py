"""The metrics are text that Prometheus reads, and of no more series than allowed."""

import dataclasses

from prometheus_client.parser import text_string_to_metric_families
from support.health_samples import EXPECTED, NOW, WELL, agent

from mas_core.ops.health.findings import judge
from mas_core.ops.health.metrics import MAX_AGENTS, metrics_text
from mas_core.ops.health.report import HealthItem, HealthReport


def series(text):
    """Name and labels -> value of each sample, as a reader of Prometheus' own sees them."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_the_numbers_are_those_of_the_observation():
    """Counters end in _total and times are in seconds."""
    seen = dataclasses.replace(
        WELL, agents=(agent(backlog=3, moved=61, oldest=90), agent(runs=False, name="x"))
    )
    found = series(metrics_text(judge(seen, EXPECTED), seen))

    assert found["mas_store_up",] == 1
    assert found["mas_health_items", ("status", "red")] == 1
    assert found["mas_partition_owned", ("partition", "0")] == 1
    assert found["mas_partition_last_move_timestamp_seconds", ("partition", "0")] == NOW / 1000 - 60
    assert found["mas_audit_records_total", ("partition", "0")] == 10
    assert found["mas_audit_signed_records_total", ("partition", "0")] == 10
    assert found["mas_gateway_messages_total", ("gateway", "gw-1")] == 5
    assert found["mas_agents", ("state", "running")] == found["mas_agents", ("state", "stopped")] == 1
    assert found["mas_agent_backlog_messages", ("agent", "worker")] == found["mas_backlog_messages",] == 3
    assert found["mas_agent_handled_messages_total", ("agent", "worker")] == 7


def test_many_agents_do_not_make_many_series():
    """Those beyond the bound are counted and have no series of their own."""
    many = tuple(agent(backlog=1, name=f"a{number:05}") for number in range(5000))
    seen = dataclasses.replace(WELL, agents=many)
    found = series(metrics_text(judge(seen, EXPECTED), seen))

    assert sum(name == "mas_agent_backlog_messages" for name, *_ in found) == MAX_AGENTS
    assert found["mas_backlog_messages",] == 5000
    assert len(found) < 4 * MAX_AGENTS


def test_without_a_store_there_is_that_alone():
    """A scrape that succeeds and says that the store is down is worth more than one that fails."""
    report = HealthReport((HealthItem("store", "red", "away"),), NOW)

    assert series(metrics_text(report, None)) == {
        ("mas_store_up",): 0,
        ("mas_health_items", ("status", "ok")): 0,
        ("mas_health_items", ("status", "warn")): 0,
        ("mas_health_items", ("status", "red")): 1,
    }
