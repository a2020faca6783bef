"""What is read from a system to judge its health: facts and moments, no judgement yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from mas_core.audit.chain import decode_record
from mas_core.audit.notary_status import NotaryStatus, live_notaries
from mas_core.errors import ConfigurationError, IntegrityError, SpecInvalid
from mas_core.model.agent_server_status import AgentServerStatus
from mas_core.model.gateway_status import GatewayStatus
from mas_core.model.registration import InstanceStatus
from mas_core.model.standing import Standing
from mas_core.ops.system import System
from mas_core.registry.registry import AgentEntry
from mas_core.runner.runner_status import RunnerStatus, live_runners
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.health_settings import HealthSettings
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.transport import wants_server
from mas_core.store.profiles import ServerFacts, server_facts
from mas_core.store.progress import AgentProgress, PartitionProgress


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the files of a project say should be."""

    profile: str = "durable"
    agents: tuple[str, ...] = ()
    """Ids of the agents that should run."""
    stuck_after_s: Mapping[str, float] = field(default_factory=dict)
    """Agent -> its limit, where it has a spec."""
    settings: HealthSettings = field(default_factory=HealthSettings)
    wants_notary: bool = False
    checkpoint_s: float = 1
    problem: str = ""
    """Why the files cannot be read."""
    wants_server: bool = False
    """Whether agents come through a server."""


@dataclass(frozen=True, slots=True)
class AgentWork:
    """A registered agent: who runs, and what waits."""

    progress: AgentProgress
    running: tuple[InstanceStatus, ...]
    standing: Standing | None = None
    """What an operator said about it."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The oldest record of a partition that no checkpoint covers."""

    partition: int
    seq: int
    recorded: int
    """Unix milliseconds by the server's clock."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A system at one moment, by its server's clock."""

    now: int
    servers: tuple[ServerFacts, ...]
    """Those that take writes."""
    partitions: tuple[PartitionProgress, ...]
    gateways: tuple[GatewayStatus, ...]
    notaries: tuple[NotaryStatus, ...]
    runners: tuple[RunnerStatus, ...]
    agents: tuple[AgentWork, ...]
    unsigned: tuple[Unsigned, ...] = ()
    policy_problem: str = ""
    agent_servers: tuple[AgentServerStatus, ...] = ()
    """What agents reach instead of the store."""


def expectations_of(project: Project | None, profile: str) -> Expectations:
    """What the files of `project` say; only the profile where there is none."""
    if project is None:
        return Expectations(profile)
    try:
        loaded = load_config(project)
        specs = loaded.specs()
    except (SpecInvalid, ConfigurationError) as error:
        return Expectations(profile, problem=error.message.splitlines()[0])
    audit = loaded.config.gateway.audit
    return Expectations(
        profile,
        tuple(spec.agent_id for spec in specs if spec.instances.min),
        {spec.agent_id: _limit(spec, loaded.config.health) for spec in specs},
        loaded.config.health,
        audit.notary,
        audit.checkpoint_s,
        wants_server=wants_server(loaded, specs),
    )


def _limit(spec: AgentSpec, settings: HealthSettings) -> float:
    """A handler may take as long as the spec says, and only what takes longer is stuck."""
    return spec.stuck_after or max(settings.agent_stuck_s, (spec.handler_timeout or 0) * 1.1)


async def observe(system: System) -> Observation:
    """Look at everything once.

    Raises:
        StoreUnreachable: The server does not answer.
        SecretUnavailable: The gateway's keys are not at hand.
    """
    store = system.store
    servers = await server_facts(store.connection)
    partitions = await store.progress.partitions()
    gateways, notaries = await system.gateways(), await store.records.notaries()
    runners = await store.runners.heartbeats()
    policy, policy_problem = None, ""
    try:
        policy = await system.policy.load()
    except IntegrityError as error:
        policy_problem = error.message
    entries = await system.registry.entries()
    progress = await store.progress.agents([entry.agent_id for entry in entries])
    standings = policy.standings if policy else {}
    live = live_notaries(notaries, now := await store.connection.time_ms())
    return Observation(
        now,
        tuple(servers),
        tuple(partitions),
        tuple(gateways),
        tuple(live),
        tuple(live_runners(runners, now)),
        tuple(
            _work(entry, each, standings.get(entry.agent_id), now)
            for entry, each in zip(entries, progress, strict=True)
        ),
        tuple([item async for item in _unsigned(system, partitions, live)]),
        policy_problem,
        tuple(await system.agent_servers()),
    )


def _work(entry: AgentEntry, progress: AgentProgress, standing: Standing | None, now: int) -> AgentWork:
    return AgentWork(progress, tuple(entry.running(now)), standing)


async def _unsigned(
    system: System, partitions: Sequence[PartitionProgress], notaries: Sequence[NotaryStatus]
) -> AsyncIterator[Unsigned]:
    """For each partition the oldest record that no notary has signed, where there is one."""
    signed: dict[int, int] = {}
    for notary in notaries:
        for evidence in notary.partitions:
            number = evidence.partition
            signed[number] = max(signed.get(number, 0), evidence.signed)
    for partition in partitions:
        first = signed.get(partition.partition, partition.audit_seq) + 1
        if first > partition.audit_seq:
            continue
        blocks = system.store.records.audit_blocks(partition.partition, first_seq=first, last_seq=first)
        async for block in blocks:
            texts = block.records()
            index = min(max(0, first - (block.last_seq - len(texts) + 1)), len(texts) - 1)
            try:
                recorded = decode_record(texts[index]).time
            except (msgspec.DecodeError, UnicodeDecodeError):
                # Verifying says what is wrong with it; that it cannot be signed is told by the notary.
                recorded = 0
            yield Unsigned(partition.partition, first, recorded)
            break
