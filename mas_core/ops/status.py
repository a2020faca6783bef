"""What runs: profile, server, gateways, agents, backlog."""

from __future__ import annotations

from dataclasses import dataclass, field

from mas_core.audit.notary_status import NotaryStatus, live_notaries
from mas_core.errors import ConfigurationError, IntegrityError, SpecInvalid
from mas_core.model.agent_server_status import AgentServerStatus
from mas_core.model.gateway_status import GatewayStatus
from mas_core.ops.agents import AgentSummary, list_agents
from mas_core.ops.system import System
from mas_core.settings.certificate_paths import certificates_dir
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.running_context import read_running
from mas_core.settings.transport import wants_server
from mas_core.store.profiles import ServerFacts, server_facts, shortfalls

_FROM_WEAKEST = ("off", "no", "unknown", "everysec", "always", "memory")
NOTARY_GRACE_MS = 15_000
"""A system may run for so long before a notary is missed."""


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
    """always, everysec, no, off, or unknown when the server does not tell; of a Cluster the weakest."""
    memory_bytes: int
    """Of all nodes that take writes."""
    nodes: list[ServerFacts]
    """The servers that take writes: one, or the masters of a Cluster."""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition and who owns it."""

    partition: int
    owner: str
    epoch: int
    audit_records: int


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """Something that is not as it should be."""

    message: str
    fix: str
    """A command that leads on."""


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """The state of a whole system."""

    name: str
    profile: str
    server: ServerStatus
    gateways: list[GatewayStatus]
    partitions: list[PartitionStatus]
    agents: list[AgentSummary]
    notaries: list[NotaryStatus]
    policy_revision: int
    rules: int
    waiting_frames: int
    """Frames that wait for a gateway."""
    backlog: int
    """Messages delivered and not settled, over all agents."""
    dead_letters: int

    expected: list[str]
    """Ids of the agents that the specs of the project say should run."""
    now: int = 0
    """Unix milliseconds by the server's clock."""
    wants_notary: bool = False
    """Whether the project says that a notary signs the audit."""
    spec_problem: str = ""
    """Why the specs of the project cannot be read."""
    policy_problem: str = ""
    """Why the stored policy cannot be read."""
    certificate_problems: tuple[StatusProblem, ...] = ()
    """Certificates that have ended, or end soon."""
    servers: list[AgentServerStatus] = field(default_factory=list)
    """What agents reach instead of the store."""
    wants_server: bool = False
    """Whether the project says that agents come through a server."""

    @property
    def problems(self) -> list[StatusProblem]:
        """What is not as it should be, in words, with a way out."""
        found = []
        if self.spec_problem:
            found.append(StatusProblem(self.spec_problem, "mas agent validate"))
        if not self.gateways:
            found.append(StatusProblem("no gateway is running: messages wait", "mas gateway run"))
        elif all(gateway.is_draining for gateway in self.gateways):
            found.append(StatusProblem("all gateways are drained: messages wait", "mas gateway resume --all"))
        elif unowned := self._unowned():
            found.append(
                StatusProblem(
                    f"no gateway owns partition {', '.join(map(str, unowned))}", "mas gateway status"
                )
            )
        found += [
            StatusProblem(
                f"the gateway {gateway.gateway_id} is {gateway.state}",
                f"mas gateway resume {gateway.gateway_id}",
            )
            for gateway in self.gateways
            if gateway.is_draining
        ]
        if self.wants_server and not self.servers:
            found.append(
                StatusProblem("no server is running: agents behind it reach nobody", "mas server run")
            )
        found += [
            StatusProblem(f"the server {server.server_id}: {alarm}", "mas server status")
            for server in self.servers
            for alarm in server.alarms(self.now)
        ]
        running = {agent.id: agent.instances for agent in self.agents}
        standings = {agent.id: agent.standing for agent in self.agents if agent.standing is not None}
        found += [
            StatusProblem(f"the agent {agent_id} is not running", f"mas agent run {agent_id}")
            for agent_id in self.expected
            if not running.get(agent_id) and agent_id not in standings
        ]
        found += [
            StatusProblem(
                f"the agent {agent_id} is {standing.kind}"
                + (f": {standing.reason}" if standing.reason else ""),
                f"mas agent resume {agent_id}",
            )
            for agent_id, standing in standings.items()
        ]
        alarms = dict.fromkeys(alarm for gateway in self.gateways for alarm in gateway.alarms)
        if self.policy_problem and not any(alarm.startswith(self.policy_problem) for alarm in alarms):
            found.append(StatusProblem(self.policy_problem, "mas gateway status"))
        found += [StatusProblem(alarm, "mas rbac history") for alarm in alarms]
        found += self.certificate_problems
        found += self._evidence_problems()
        if self.rules == 0 and not self.policy_problem:
            found.append(
                StatusProblem("the policy has no rules: nothing is allowed", "mas rbac allow operator AGENT")
            )
        if self.dead_letters:
            what = "1 message was" if self.dead_letters == 1 else f"{self.dead_letters} messages were"
            found.append(StatusProblem(f"{what} given up", "mas dlq list"))
        found += [
            StatusProblem(item.message, item.fix) for item in shortfalls(self.profile, self.server.nodes)
        ]
        return found

    def _evidence_problems(self) -> list[StatusProblem]:
        found = [
            StatusProblem(alarm, "mas audit notary status")
            for notary in self.notaries
            for alarm in notary.alarms
        ]
        since = min((gateway.started for gateway in self.gateways), default=self.now)
        if self.wants_notary and not self.notaries and since + NOTARY_GRACE_MS < self.now:
            found.append(
                StatusProblem(
                    "no notary is running: the audit is not signed outside of the server",
                    "mas audit notary run",
                )
            )
        return found

    def _unowned(self) -> list[int]:
        """A gateway that was killed stands as the owner until another takes over."""
        owned = {partition for gateway in self.gateways for partition in gateway.partitions}
        return [item.partition for item in self.partitions if item.partition not in owned]


async def status(system: System) -> SystemStatus:
    """What runs now.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    records = system.store.records
    metas = await records.metas()
    policy, policy_problem = None, ""
    try:
        policy = await system.policy.load()
    except IntegrityError as error:
        policy_problem = error.message
    agents = await list_agents(system)
    expected, spec_problem = _expected(system.target.project)
    certificates = _certificate_problems(system.target.project)
    servers = await system.agent_servers()
    now = await records.time_ms()
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
        live_notaries(await records.notaries(), now),
        policy.revision if policy else 0,
        len(policy.rules) if policy else 0,
        await records.waiting_frames(),
        sum(agent.backlog for agent in agents),
        await records.dead_letters(),
        expected,
        now,
        _wants_notary(system.target.project),
        spec_problem,
        policy_problem,
        certificates,
        servers,
        _wants_server(system.target.project),
    )


def _expected(project: Project | None) -> tuple[list[str], str]:
    if project is None:
        return [], ""
    try:
        specs = load_config(project).specs()
    except SpecInvalid as error:
        return [], error.message.splitlines()[0]
    return [spec.agent_id for spec in specs if spec.instances.min], ""


def _certificate_problems(project: Project | None) -> tuple[StatusProblem, ...]:
    if project is None:
        return ()
    try:
        loaded = load_config(project)
        specs = [spec for spec in loaded.specs() if spec.instances.min]
    except ConfigurationError:
        return ()
    named = [loaded.config.tls_server_cert_path, *(spec.tls_cert_path for spec in specs)]
    if not any(named) and not certificates_dir(project.root).exists():
        return ()
    from mas_core.ops.certificate_problems import certificate_problems  # noqa: PLC0415 - slow, and few have any

    return tuple(StatusProblem(item.message, item.fix) for item in certificate_problems(loaded, specs))


def _wants_notary(project: Project | None) -> bool:
    if project is None:
        return False
    try:
        return load_config(project).config.gateway.audit.notary
    except ConfigurationError:
        return False


def _wants_server(project: Project | None) -> bool:
    if project is None:
        return False
    try:
        loaded = load_config(project)
        return wants_server(loaded, loaded.specs())
    except ConfigurationError:
        return False


async def _server(system: System) -> ServerStatus:
    nodes = await server_facts(system.store.connection)
    running = read_running(system.target.project) if system.target.project else None
    is_embedded = running is not None and running.embedded and running.url == system.target.url
    weakest = min(nodes, key=lambda node: _FROM_WEAKEST.index(node.append_only))
    return ServerStatus(
        system.target.shown_url,
        is_embedded,
        nodes[0].program,
        nodes[0].version,
        weakest.append_only,
        sum(node.memory_bytes for node in nodes),
        nodes,
    )
