"""The machines of a partition's resources: one that fails stops neither the others nor the partition."""

import msgspec
import pytest

from mas_core.coordination.election import Group
from mas_core.coordination.task_queues import TaskQueues
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.recent_work import RecentWork
from mas_core.gateway.resources import Resources
from mas_core.model.resource_record import record_purpose
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest


@pytest.fixture
def resources(monkeypatch):
    """Opens resources whose tasks fail when time passes, with a leader whose lease has run out."""
    keys, effects = GatewayKeys.generate(), []

    def fail(self, *_):
        raise RuntimeError("no")

    def opened(tasks=None, failing="tick"):
        monkeypatch.setattr(TaskQueues, failing, fail)
        monkeypatch.setattr(TaskQueues, "next_due", lambda self: 1)
        outbound = Outbound(None, namespace="n", partition=0, session="s", gateway_key_id="k")
        group = msgspec.json.encode(Group("g", 1, "ann", "1", expires=5))
        sealed = AtRest(keys.at_rest_key).seal(record_purpose("leader", "g"), group)
        ledger = Ledger(keys, "gateway", RecentWork())
        stored = {"leader": {"g": sealed}}
        return Resources(
            keys, ledger, outbound, effects, stored, lambda *_: True, signing_keys=None, namespace="n"
        )

    opened.effects = effects
    return opened


@pytest.mark.parametrize("failing", ["tick", "load"])
def test_a_machine_that_fails_stops_alone(resources, failing):
    """Leases of leaders end although no task can; an alarm says so, and nothing is tried again and again."""
    found = resources(failing=failing)
    found.tick(10)
    assert len(resources.effects) == 1
    assert found.alarms[0].startswith("task: takes no commands")
    assert not found.is_due(10)
