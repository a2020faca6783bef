"""What moves is well, what waits and does not move is red, whatever its heartbeat says."""

import dataclasses

import pytest
from support.health_samples import EXPECTED, NOW, PARTITION, SERVER, WELL, agent

from mas_core.audit.notary_status import NotaryStatus, PartitionEvidence
from mas_core.model.gateway_status import GatewayStatus
from mas_core.model.standing import Standing
from mas_core.ops.health.findings import judge
from mas_core.ops.health.observation import Unsigned
from mas_core.runner.runner_status import InstanceTrouble, RunnerStatus


def found(observation, expected=EXPECTED, name=""):
    """Status and reason of everything that is not well, or of the things of one name."""
    return [
        (item.status, item.reason)
        for item in judge(observation, expected).items
        if (item.name == name if name else item.status != "ok")
    ]


def seen(**fields):
    """The healthy system with something else in it."""
    return dataclasses.replace(WELL, **fields)


def test_a_system_that_does_what_it_should_is_well():
    """Nothing to do is well, too."""
    report = judge(WELL, EXPECTED)

    assert report.status == "ok"
    assert found(seen(agents=(agent(), agent(backlog=5, moved=3, oldest=70)))) == []


@pytest.mark.parametrize(
    ("work", "status", "words"),
    [
        (agent(backlog=3, moved=61, oldest=300), "red", "3 messages wait, and none was settled for 61 s"),
        (agent(backlog=1, moved=0, oldest=61), "red", "1 message waits, and none was settled for 61 s"),
        (agent(backlog=1, moved=0, oldest=61, started=59), "ok", ""),
        (agent(backlog=1, moved=7200, oldest=59), "ok", ""),
        (agent(backlog=9, moved=1, oldest=601), "warn", "9 messages wait, the oldest for 10 min"),
        (agent(backlog=9, moved=1, oldest=599), "ok", ""),
        (agent(backlog=2, moved=1, oldest=9, seen=46, in_hands={"i1": 2}), "red", "and holds 2 frames"),
        (agent(seen=46), "warn", "instance i1 (pid 9 on h) has said nothing for 46 s"),
        (agent(backlog=4, oldest=61, runs=False), "warn", "no instance runs, and 4 messages wait"),
        (agent(backlog=4, oldest=59, runs=False), "ok", ""),
        (agent(backlog=4, oldest=999, standing=Standing("paused", "a look")), "warn", "says paused: a look"),
    ],
)
def test_an_agent_is_judged_by_what_it_settles(work, status, words):
    """Waiting counts from when something waits or moved last, and for an agent that has just come from then."""
    (item,) = found(seen(agents=(work,)), name="agent worker") or [("ok", "")]

    assert item[0] == status
    assert words in item[1]


def test_the_limit_of_an_agent_is_that_of_its_spec():
    """A handler that may take ten minutes is not stuck after one."""
    slow = seen(agents=(agent(backlog=1, moved=100, oldest=100),))

    assert [status for status, _ in found(slow)] == ["red"]
    assert found(slow, dataclasses.replace(EXPECTED, stuck_after_s={"worker": 600})) == []


def test_an_expected_agent_that_does_not_run_is_red():
    """Whether it is registered or not, and with nothing to do, too."""
    expected = dataclasses.replace(EXPECTED, agents=("worker", "other"))

    assert found(seen(agents=(agent(runs=False),)), expected) == [
        ("red", "no instance runs"),
        ("red", "is not registered"),
    ]


@pytest.mark.parametrize(
    ("partition", "words"),
    [
        (
            {"waiting": 2, "oldest": NOW - 5001, "moved": NOW - 9000},
            "gw-1 has taken none for 5 s although it",
        ),
        (
            {"waiting": 2, "oldest": NOW - 9000, "moved": NOW - 5001},
            "gw-1 has taken none for 5 s although it",
        ),
        ({"waiting": 2, "oldest": NOW - 9000, "moved": NOW - 4999}, ""),
        ({"waiting": 2, "oldest": NOW - 4999, "moved": 0}, ""),
        ({"waiting": 0, "oldest": 0, "moved": NOW - 10**9}, ""),
        ({"lease": NOW - 1, "waiting": 1, "oldest": NOW}, "no gateway has it, and 1 frame waits"),
    ],
)
def test_a_partition_is_judged_by_its_cursor(partition, words):
    """A lease that is renewed proves nothing while frames wait; without frames nothing has to move."""
    items = found(seen(partitions=(dataclasses.replace(PARTITION, **partition),)))

    assert [status for status, _ in items] == (["red"] if words else [])
    assert not words or words in items[0][1]


def test_what_gateways_and_runners_say_of_themselves_counts():
    """Alarms, late event loops, instances that were given up; what is starting is no trouble yet."""
    ill = GatewayStatus("gw-1", NOW, NOW, (0,), "h", 1, alarms=("the policy is broken",), loop_lag_ms=300)
    runner = RunnerStatus(
        "run-1",
        NOW,
        NOW,
        "h",
        3,
        3,
        troubles=(
            InstanceTrouble("a", 1, "gave_up", "no such module"),
            InstanceTrouble("b", 2, "waiting", "ended with exit code 3"),
            InstanceTrouble("c", 1, "starting"),
        ),
        loop_lag_ms=6000,
    )

    assert found(seen(gateways=(ill,), runners=(runner,))) == [
        ("red", "the policy is broken"),
        ("red", "a #1: no such module; it is not started again"),
        ("red", "something kept its event loop from running for 6000 ms within the last seconds"),
        ("warn", "something kept its event loop from running for 300 ms within the last seconds"),
        ("warn", "b #2: ended with exit code 3; it is started again soon"),
    ]
    assert found(seen(gateways=()))[0] == ("red", "none is running: messages wait")


def test_the_audit_is_judged_by_its_oldest_unsigned_record():
    """Not by when something was signed last: where nothing happens nothing is signed."""
    late, soon = Unsigned(0, 11, NOW - 17_000), Unsigned(0, 11, NOW - 15_000)

    assert found(seen(unsigned=(late,))) == [("red", "record 11 is not signed since 17 s")]
    assert found(seen(unsigned=(soon,))) == []
    assert [status for status, _ in found(seen(notaries=()))] == ["red"]
    young = dataclasses.replace(WELL, notaries=(), gateways=(GatewayStatus("g", NOW, NOW, (0,), "h", 1),))
    assert found(young) == []
    refused = NotaryStatus(
        "n", NOW, NOW, "h", 2, "f", (PartitionEvidence(0, "refused", 1, 1, problem="rolled back"),)
    )
    assert found(seen(notaries=(refused,))) == [("red", "rolled back")]


@pytest.mark.parametrize(
    ("facts", "status", "words"),
    [
        ({"append_only": "everysec"}, "red", "durable needs appendfsync always"),
        ({"memory_bytes": 96, "memory_limit": 100}, "red", "96% of its limit"),
        ({"memory_bytes": 81, "memory_limit": 100}, "warn", "81% of its limit"),
        ({"memory_bytes": 79, "memory_limit": 100}, "", ""),
        ({"eviction": "allkeys-lru"}, "red", "drops messages"),
        ({"takes_writes": False}, "red", "takes no writes"),
        ({"saves": False, "place": "db:7000"}, "warn", "the server at db:7000 could not write a snapshot"),
    ],
)
def test_the_server_is_judged_by_what_it_says(facts, status, words):
    """Memory, disk, eviction, and whether it keeps what the profile promises."""
    items = found(seen(servers=(dataclasses.replace(SERVER, **facts),)))

    assert [is_status for is_status, _ in items] == ([status] if status else [])
    assert not words or words in items[0][1]


def test_the_worst_comes_first_and_decides():
    """A warning alone leaves the exit code at 0; one red thing does not."""
    warned = judge(seen(agents=(agent(seen=46),)), EXPECTED)
    red = judge(seen(agents=(agent(seen=46), agent(backlog=1, oldest=61))), EXPECTED)

    assert (warned.status, warned.items[0].status) == ("warn", "warn")
    assert (red.status, [item.status for item in red.items[:2]]) == ("red", ["red", "warn"])
    assert all(item.fix for item in red.items if item.status != "ok")
