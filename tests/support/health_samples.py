"""A healthy system as it is observed, and agents to put into it."""

from __future__ import annotations

from mas_core.audit.notary_status import NotaryStatus, PartitionEvidence
from mas_core.model.gateway_status import GatewayStatus
from mas_core.model.registration import InstanceStatus
from mas_core.ops.health.observation import AgentWork, Expectations, Observation
from mas_core.settings.health_settings import HealthSettings
from mas_core.store.profiles import ServerFacts
from mas_core.store.progress import AgentProgress, PartitionProgress

NOW = 1_800_000_000_000
LIMITS = HealthSettings(agent_stuck_s=60, gateway_stuck_s=5)
EXPECTED = Expectations("durable", settings=LIMITS, wants_notary=True)

PARTITION = PartitionProgress(0, "gw-1", NOW + 1000, NOW - 60_000, 10, 0, 0)
GATEWAY = GatewayStatus("gw-1", NOW, NOW - 600_000, (0,), "host", 1, 5, p95_ms=2)
NOTARY = NotaryStatus("n-1", NOW, NOW, "host", 2, "folder", (PartitionEvidence(0, "signing", 10, 10, NOW),))
SERVER = ServerFacts(
    "", "valkey", "9.0", (7, 2), "always", "noeviction", 0, needs_replicas=False, memory_bytes=90
)
WELL = Observation(NOW, (SERVER,), (PARTITION,), (GATEWAY,), (NOTARY,), (), ())


def agent(
    backlog=0, moved=0, oldest=0, started=600, seen=1, in_hands=None, standing=None, runs=True, name="worker"
):
    """An agent; moments are seconds ago, 0 for never."""

    def ago(seconds):
        return NOW - int(seconds * 1000) if seconds else 0

    progress = AgentProgress(name, backlog, 7, ago(moved), ago(oldest), in_hands or {})
    running = (InstanceStatus("i1", ago(started), ago(seen), pid=9, host="h"),) if runs else ()
    return AgentWork(progress, running, standing)
