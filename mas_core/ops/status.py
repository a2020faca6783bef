"""What runs: profile, server, gateways, agents, backlog."""

from __future__ import annotations

from dataclasses import dataclass

from mas_core.gateway.service import GatewayStatus
from mas_core.ops.agents import AgentSummary, list_agents
from mas_core.ops.system import System
from mas_core.settings.running_context import read_running


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The Redis or Valkey server."""

    url: str
    """Without its password."""
    is_embedded: bool
    name: str
    """valkey or redis."""
    version: str
    append_only: str
    """always, everysec, no, off, or unknown when the server does not tell."""
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition and who owns it."""

    partition: int
    owner: str
    epoch: int
    audit_records: int


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """The state of a whole system."""

    name: str
    profile: str
    server: ServerStatus
    gateways: list[GatewayStatus]
    partitions: list[PartitionStatus]
    agents: list[AgentSummary]
    policy_revision: int
    rules: int
    waiting_frames: int
    """Frames that wait for a gateway."""
    backlog: int
    """Messages delivered and not settled, over all agents."""
    dead_letters: int

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, in words."""
        found = []
        if not self.gateways:
            found.append("no gateway is running: messages wait")
        elif unowned := [item.partition for item in self.partitions if not item.owner]:
            found.append(f"no gateway owns partition {', '.join(map(str, unowned))}")
        if self.rules == 0:
            found.append("the policy has no rules: nothing is allowed")
        wanted = {"fast": ("everysec", "always"), "durable": ("always",), "ha": ("always",)}
        if self.server.append_only not in (*wanted.get(self.profile, ()), "unknown", "memory"):
            found.append(
                f"the profile {self.profile} needs appendfsync {wanted[self.profile][0]}, "
                f"but the server has {self.server.append_only}"
            )
        return found


async def status(system: System) -> SystemStatus:
    """What runs now.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    records = system.store.records
    metas = await records.metas()
    policy = await system.policy.load()
    agents = await list_agents(system)
    return SystemStatus(
        system.target.name,
        system.target.profile,
        await _server(system),
        await system.gateways(),
        [
            PartitionStatus(
                number,
                meta.get("owner", b"").decode(),
                int(meta.get("epoch", b"0")),
                int(meta.get("audit_seq", b"0") or 0),
            )
            for number, meta in enumerate(metas)
        ],
        agents,
        policy.revision if policy else 0,
        len(policy.rules) if policy else 0,
        await records.waiting_frames(),
        sum(agent.backlog for agent in agents),
        await records.dead_letters(),
    )


async def _server(system: System) -> ServerStatus:
    facts = await system.store.connection.server_facts()
    running = read_running(system.target.project) if system.target.project else None
    is_embedded = running is not None and running.embedded and running.url == system.target.url
    return ServerStatus(
        system.target.shown_url,
        is_embedded,
        "valkey" if "valkey_version" in facts else "redis",
        facts.get("valkey_version") or facts.get("redis_version", ""),
        facts["append_only"],
        int(facts.get("used_memory", "0")),
    )
