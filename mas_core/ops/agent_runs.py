"""Run agents of a project: register them, put the rules of its files in force, supervise them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from mas_core.errors import MasError, ProjectNotFound
from mas_core.model.policy import ANYONE, PolicyDocument, RateLimit
from mas_core.ops.agents import ensure_registered
from mas_core.ops.health.endpoint import Readiness, configured_address, serving_health
from mas_core.ops.queues import look
from mas_core.ops.run_events import RunEvent, of_agent
from mas_core.ops.server_users import is_default_off, provision, with_valid_tokens
from mas_core.ops.spec_choice import SpecChoice
from mas_core.ops.system import OPERATOR, System
from mas_core.registry.operator_log import named
from mas_core.runner.launch import ConnectionFacts
from mas_core.runner.rounds import Rounds
from mas_core.runner.supervised_instance import InstanceInfo
from mas_core.runner.supervisor import DRAIN_SECONDS, Supervisor
from mas_core.security.limit_changes import merged_with_files, with_file_limits
from mas_core.security.policy_changes import replace_file_routes, replace_file_rules, set_roles
from mas_core.security.routing import replace_file_routing
from mas_core.settings import certificate_paths
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.health_settings import Address
from mas_core.settings.policy_file import FilePolicy
from mas_core.settings.project import Project
from mas_core.settings.project_config import LoadedConfig
from mas_core.settings.secret_variables import SecretVariables
from mas_core.settings.server_logins import without_login
from mas_core.settings.target import Target
from mas_core.settings.tracing import tracing_environment
from mas_core.settings.transport import is_secure, served, transport_of

READY_SECONDS = 60.0
COUNTING_SECONDS = 1.0
COUNT_EVERY_S = 0.1
OPERATOR_LIMIT = RateLimit(per_minute=6000, per_hour=100_000)

OnEvent = Callable[[RunEvent], None]


@dataclass(frozen=True, slots=True)
class RunTerms:
    """How agents are run."""

    reload: bool = False
    """Restart agents when their spec or module changes."""
    ready_within: float = READY_SECONDS
    """Seconds that they may take to get ready before that is told."""
    health: Address | None = None
    """Where the runner answers about its health; where the project says when None."""
    max_messages: int | None = None
    """End once they have handled so many together, wherever they run; a few more may be in hand by then."""
    drain_s: float = DRAIN_SECONDS
    """How long each may finish what it has in hand."""


async def run_agents(
    system: System,
    choice: SpecChoice,
    stop: asyncio.Event,
    on_event: OnEvent = lambda _event: None,
    terms: RunTerms = RunTerms(),
) -> bool:
    """Run agents of the system's project in processes of their own until `stop` is set, then drain them.

    Cancelled once, it drains what has started; cancelled while it drains, it kills.

    Args:
        system: A running system with a project.
        choice: Which agents, and how many of each.
        stop: Ends them.
        on_event: Gets what happens.
        terms: How they are run.

    Returns:
        Whether all of them ended within their time.

    Raises:
        ProjectNotFound: The system has no project.
        AgentNotFound: There is no spec of this name.
        ConfigurationError: Health cannot be served at this address.
        SpecInvalid: A spec or the policy cannot be used; nothing was started.
        GatewayDown: No gateway runs.
    """
    project = system.target.project
    if project is None:
        raise ProjectNotFound("agents run from the specs of a project", hint="mas init DIR")
    found = choice.load_known(project)
    loaded, chosen = found.loaded, found.chosen
    supervisor = supervisor_of(
        system.target, loaded, chosen, on_event, place=f"run-{os.getpid()}", drain_s=terms.drain_s
    )
    supervisor.check(chosen)
    await system.require_gateway()
    await put_in_force(system, loaded, chosen, loaded.policy(found.every))
    address = terms.health or configured_address(project, "runner")
    ready = Readiness()
    ids = [spec.agent_id for spec in chosen]
    async with (
        serving_health(system.target, address, ready, is_required=terms.health is not None),
        _counting(system, ids, terms.max_messages, stop),
    ):
        try:
            await supervisor.start()
            on_event(readiness(await supervisor.wait_ready(terms.ready_within)))
            async with (
                making_rounds(supervisor, system, ready),
                reloading(supervisor, system, project, on_event, choice, enabled=terms.reload),
            ):
                await stop.wait()
            on_event(await stopping(system, ids))
        finally:
            drained = await ended(supervisor, stop)
    on_event(stopped(drained=drained))
    return drained


async def stopping(system: System, agent_ids: Sequence[str]) -> RunEvent:
    """Agents begin to end; what their queues have in hand is counted where the server still answers."""
    held = 0
    with contextlib.suppress(MasError, TimeoutError):
        async with asyncio.timeout(COUNTING_SECONDS):
            held = sum(queue.total.in_hand for queue in (await look(system, agent_ids)).queues.values())
    if not held:
        return RunEvent("stopping", "agents finish what they have in hand")
    return RunEvent("stopping", f"waiting for {held} message{'s' if held > 1 else ''}", state="working")


def supervisor_of(
    target: Target,
    loaded: LoadedConfig,
    specs: Sequence[AgentSpec],
    on_event: OnEvent,
    *,
    place: str = "",
    drain_s: float = DRAIN_SECONDS,
) -> Supervisor:
    """The supervisor of agents of a project, connected to the system of `target`."""
    project = loaded.project
    tokens_dir = target.tokens_dir or project.tokens_dir
    is_closed = target.keys_dir is not None and is_default_off(target.keys_dir)
    facts = ConnectionFacts(
        # There an agent without a user of its own would come as the operator.
        url=without_login(target.url) if is_closed else target.url,
        namespace=target.namespace,
        partitions=target.partitions,
        tokens_dir=str(tokens_dir),
        config_path=str(project.config_path),
    )
    return Supervisor(
        project,
        specs,
        facts,
        lambda event: on_event(of_agent(event)),
        class_prefixes=loaded.config.class_prefixes,
        agents_dir=loaded.agents_dir,
        place=place,
        drain_s=drain_s,
        served=partial(served, loaded=loaded),
        tracing=tracing_environment(loaded.config.gateway.tracing),
        withheld=SecretVariables(loaded, tokens_dir).withheld_from,
    )


async def put_in_force(
    system: System, loaded: LoadedConfig, specs: Sequence[AgentSpec], policy: FilePolicy
) -> None:
    """Register the operator and these agents, make the policy what the files say, see to certificates."""
    await _put_in_force(system, loaded, specs, policy)
    folder = certificate_paths.certificates_dir(loaded.project.root)
    if is_secure(loaded) or certificate_paths.authority(folder).exists():
        # Slow to load, and most projects have no authority.
        from mas_core.ops.certificate_renewal import renew  # noqa: PLC0415
        from mas_core.ops.server_mode import issue_missing  # noqa: PLC0415

        await issue_missing(system, loaded, specs)
        await renew(system, loaded, specs)


@named("project.load")
async def _put_in_force(
    system: System, loaded: LoadedConfig, specs: Sequence[AgentSpec], policy: FilePolicy
) -> None:
    for agent_id, source in [(OPERATOR, "project"), *((spec.agent_id, spec.origin) for spec in specs)]:
        await ensure_registered(system, agent_id, source=source)
    now = await system.store.connection.time_ms()

    def edit(document: PolicyDocument) -> PolicyDocument:
        changed = with_file_policy(document, loaded, policy)
        if changed == document:
            return document
        return msgspec.structs.replace(changed, changed_by=system.actor, changed_at=now)

    await system.policy.change(edit)
    keys_dir = system.target.keys_dir
    direct = [spec.agent_id for spec in specs if transport_of(spec, loaded) == "direct"]
    if direct and keys_dir is not None and is_default_off(keys_dir):
        await provision(system, await with_valid_tokens(system, direct))


def with_file_policy(document: PolicyDocument, loaded: LoadedConfig, policy: FilePolicy) -> PolicyDocument:
    """The document with what the files say; rules that were given by command stay."""
    settings = loaded.config.gateway
    roles = {**document.roles, **policy.roles}
    changed = with_file_limits(
        set_roles(document, roles),
        {
            ANYONE: policy.default_limit or settings.default_limit,
            OPERATOR: OPERATOR_LIMIT,
            **policy.limits,
        },
        policy.totals,
        policy.ceilings,
    )
    changed = msgspec.structs.replace(
        changed,
        roles_of_files=policy.roles,
        signature_max_age_s=settings.message_signing.max_age_s,
        default_breaker=policy.default_breaker or settings.circuit_breaker.as_breaker_limits(),
        breakers=policy.breakers,
        backups=policy.backups,
        features=msgspec.structs.replace(
            settings.policy_features, **{**policy.features, **document.feature_overrides}
        ),
        capabilities={**document.capabilities, **policy.capabilities},
        blocked={**policy.blocked, **document.blocked},
        trusted={**policy.trusted, **document.trusted},
        approval_expires_ms=policy.approval_expires_ms or PolicyDocument().approval_expires_ms,
        retention=merged_with_files(document.retention, document.retention_of_files, policy.retention),
        retention_of_files=policy.retention,
        dlp_actions=policy.dlp_actions,
        audit_fingerprints=policy.audit_fingerprints,
        audit_payloads=policy.audit_payloads,
        dlp_keys=policy.dlp_keys,
        e2e_suites=policy.e2e_suites or PolicyDocument().e2e_suites,
    )
    changed = replace_file_routing(replace_file_routes(changed, policy.routes), policy.routing)
    return replace_file_rules(changed, policy.rules)


@contextlib.asynccontextmanager
async def making_rounds(
    supervisor: Supervisor, system: System, ready: Readiness | None = None
) -> AsyncIterator[None]:
    """Within the block, the store is told what runs, agents are scaled, certificates renewed; `ready` says so."""
    from mas_core.ops.certificate_renewal import renewing  # noqa: PLC0415 - slow, and everything runs by now

    async def is_held(agent_id: str) -> bool:
        policy = await system.policy.load()
        return policy is not None and agent_id in policy.standings

    rounds = Rounds(supervisor, system.store.runners, is_held)
    ready = ready or Readiness()
    ready.process = rounds.runner_id
    task = asyncio.create_task(rounds.run())
    try:
        async with renewing(system, supervisor.specs):
            yield
    finally:
        ready.process = ""
        task.cancel()
        await asyncio.wait([task])
        with contextlib.suppress(MasError):
            await rounds.leave()


@contextlib.asynccontextmanager
async def reloading(
    supervisor: Supervisor,
    system: System,
    project: Project,
    on_event: OnEvent,
    choice: SpecChoice,
    *,
    enabled: bool,
) -> AsyncIterator[None]:
    """Within the block, agents are restarted when their spec or module changes."""
    if not enabled:
        yield
        return

    async def before(specs: list[AgentSpec]) -> None:
        found = choice.load(project)
        await put_in_force(system, found.loaded, specs, found.loaded.policy(found.every))

    async def watch() -> None:
        try:
            await supervisor.reload_on_change(before, lambda: choice.load(project).chosen)
        except MasError as error:
            on_event(RunEvent("problem", error.message, hint=error.hint))

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def _counting(
    system: System, agent_ids: Sequence[str], limit: int | None, stop: asyncio.Event
) -> AsyncIterator[None]:
    """Within the block, `stop` is set once these agents have handled so many messages more than now."""
    if limit is None:
        yield
        return

    async def handled() -> int:
        return sum(item.handled for item in await system.store.progress.agents(agent_ids))

    end = await handled() + limit

    async def count() -> None:
        while not stop.is_set():
            with contextlib.suppress(MasError):
                if await handled() >= end:
                    stop.set()
            await asyncio.sleep(COUNT_EVERY_S)

    task = asyncio.create_task(count())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def readiness(missing: Sequence[InstanceInfo]) -> RunEvent:
    """The event that says that everything runs, or what does not."""
    if not missing:
        return RunEvent("ready", "everything runs")
    count = "1 agent process does" if len(missing) == 1 else f"{len(missing)} agent processes do"
    return RunEvent(
        "ready",
        f"{count} not run",
        state="late" if any(info.state == "starting" for info in missing) else "incomplete",
        hint=tuple(
            f"{info.agent_id}-{info.number}: {info.message or info.state}; see {info.log}" for info in missing
        ),
    )


def stopped(*, drained: bool) -> RunEvent:
    """The last event."""
    return RunEvent("stopped", "everything has ended" if drained else "some agents did not end in time")


async def ended(supervisor: Supervisor, stop: asyncio.Event) -> bool:
    """Drain the agents; kill them when this is cancelled, or was after `stop`. Whether all ended in time."""
    task = asyncio.current_task()
    if task and task.cancelling() and stop.is_set():
        await supervisor.kill()
        return False
    try:
        return await supervisor.stop()
    except asyncio.CancelledError:
        await supervisor.kill()
        raise
