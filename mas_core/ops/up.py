"""Run a project: server, gateway and agents, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mas_core.errors import (
    AgentFailed,
    DeadlineExceeded,
    GatewayDown,
    InternalError,
    LockHeld,
    MasError,
)
from mas_core.model.policy import PolicyDocument, RateLimit
from mas_core.ops.agents import ensure_registered
from mas_core.ops.system import OPERATOR, System
from mas_core.runner.gateway_process import GatewayProcess
from mas_core.runner.launch import ConnectionFacts
from mas_core.runner.log_files import open_log
from mas_core.runner.supervised_instance import AgentEvent
from mas_core.runner.supervisor import Supervisor
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.policy_changes import replace_file_rules, set_roles
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.policy_file import FilePolicy
from mas_core.settings.project import Project
from mas_core.settings.project_config import LoadedConfig, load_config
from mas_core.settings.running_context import (
    RunningContext,
    read_running,
    remove_running,
    write_running,
)
from mas_core.settings.target import Target
from mas_core.store.embedded_server import EmbeddedServer, ServerEvent

READY_SECONDS = 60.0
DOWN_SECONDS = 60.0
OPERATOR_LIMIT = RateLimit(per_minute=6000, per_hour=100_000)

EventKind = Literal["server", "gateway", "agent", "problem", "ready", "stopping", "stopped", "failed"]


class UpEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened while a project runs."""

    kind: EventKind
    message: str
    hint: tuple[str, ...] = ()
    agent_id: str = ""
    pid: int = 0
    code: str = ""
    """Of a failure: the error's code."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What to run and how."""

    url: str | None = None
    """Use this server instead of the project's or the embedded one."""
    profile: str | None = None
    reload: bool = False
    """Restart agents when their spec or module changes."""


async def up(
    project: Project,
    options: UpOptions,
    stop: asyncio.Event,
    on_event: Callable[[UpEvent], None] = lambda _event: None,
) -> bool:
    """Run the project until `stop` is set, then drain everything.

    Returns:
        Whether everything ended within its time.

    Raises:
        LockHeld: The project runs already.
        SpecInvalid: A spec or the policy cannot be used; nothing was started.
        StoreUnreachable: The server does not answer.
        GatewayDown: The gateway did not start.
    """
    running = read_running(project)
    if running is not None:
        raise LockHeld(
            f"the project runs already, under process {running.pid}",
            hint=("mas status", "mas down"),
            owner=running.pid,
        )
    flags = {name: value for name, value in (("url", options.url), ("profile", options.profile)) if value}
    loaded = load_config(project, flags)
    specs = loaded.specs()
    policy = loaded.policy(specs)
    async with _server(project, loaded, on_event) as url:
        return await _run(project, loaded, url, specs, policy, options, stop, on_event)


async def _run(
    project: Project,
    loaded: LoadedConfig,
    url: str,
    specs: Sequence[AgentSpec],
    policy: FilePolicy,
    options: UpOptions,
    stop: asyncio.Event,
    on_event: Callable[[UpEvent], None],
) -> bool:
    config = loaded.config
    GatewayKeys.load_or_create(project.keys_dir)
    target = Target(
        url=url,
        namespace=config.namespace,
        partitions=config.partitions,
        profile=config.profile,
        project=project,
        keys_dir=project.keys_dir,
        tokens_dir=project.tokens_dir,
        name=config.name,
    )
    facts = ConnectionFacts(
        url=url,
        namespace=config.namespace,
        partitions=config.partitions,
        tokens_dir=str(project.tokens_dir),
        config_path=str(project.config_path),
    )
    supervisor = Supervisor(
        project,
        specs,
        facts,
        lambda event: on_event(_of_agent(event)),
        class_prefixes=config.class_prefixes,
        agents_dir=loaded.agents_dir,
    )
    supervisor.check(specs)
    gateway = GatewayProcess(
        project,
        lambda code: on_event(
            UpEvent("problem", f"the gateway ended with {_exit(code)} and is started again")
        ),
    )
    async with System(target) as system:
        write_running(
            project,
            RunningContext(
                url=url,
                namespace=config.namespace,
                partitions=config.partitions,
                profile=config.profile,
                pid=os.getpid(),
                started=int(time.time() * 1000),
                embedded=loaded.url is None,
            ),
        )
        try:
            await _prepare(system, loaded, specs, policy)
            await gateway.start()
            await _until_owned(system, stop)
            on_event(UpEvent("gateway", "takes messages", pid=gateway.pid))
            await supervisor.start()
            missing = await supervisor.wait_ready(READY_SECONDS)
            on_event(
                UpEvent(
                    "ready",
                    "everything runs" if not missing else f"{len(missing)} instances do not run",
                    hint=tuple(f"{info.agent_id}: {info.message} (see {info.log})" for info in missing),
                )
            )
            reloading = asyncio.create_task(
                _reload(supervisor, system, project, enabled=options.reload, on_event=on_event)
            )
            await stop.wait()
            reloading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reloading
            on_event(UpEvent("stopping", "agents finish what they have in hand"))
        finally:
            drained = await supervisor.stop()
            await gateway.stop()
            remove_running(project, os.getpid())
    on_event(UpEvent("stopped", "everything has ended" if drained else "some agents did not end in time"))
    return drained


@asynccontextmanager
async def _server(
    project: Project, loaded: LoadedConfig, on_event: Callable[[UpEvent], None]
) -> AsyncIterator[str]:
    if loaded.url is not None:
        on_event(UpEvent("server", "uses the server of the URL"))
        yield loaded.url
        return

    def report(event: ServerEvent) -> None:
        on_event(UpEvent("problem", event.message))

    server = EmbeddedServer(
        project.server_dir, project.run_dir, project.keys_dir, profile=loaded.config.profile, on_event=report
    )
    async with server:
        on_event(UpEvent("server", "embedded Valkey runs", pid=server.pid))
        yield server.url


async def _prepare(
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


def with_file_policy(document: PolicyDocument, loaded: LoadedConfig, policy: FilePolicy) -> PolicyDocument:
    """The document with what the files say; rules that were given by command stay."""
    settings = loaded.config.gateway
    roles = {**document.roles, **policy.roles}
    changed = set_roles(document, roles)
    changed = msgspec.structs.replace(
        changed,
        default_limit=policy.default_limit or settings.default_limit,
        limits={OPERATOR: OPERATOR_LIMIT, **document.limits, **policy.limits},
        features=settings.policy_features,
        dlp_actions=policy.dlp_actions,
    )
    return replace_file_rules(changed, policy.rules)


async def _until_owned(system: System, stop: asyncio.Event) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and not stop.is_set():
        gateways = await system.gateways()
        owned = {partition for gateway in gateways for partition in gateway.partitions}
        if len(owned) == system.store.partitions:
            return
        await asyncio.sleep(0.05)
    raise GatewayDown("the gateway did not start", hint="look at .mas/logs/gateway.log")


async def _reload(
    supervisor: Supervisor,
    system: System,
    project: Project,
    *,
    enabled: bool,
    on_event: Callable[[UpEvent], None],
) -> None:
    if not enabled:
        return

    async def before(specs: list[AgentSpec]) -> None:
        loaded = load_config(project)
        await _prepare(system, loaded, specs, loaded.policy(specs))

    try:
        await supervisor.reload_on_change(before)
    except MasError as error:
        on_event(UpEvent("problem", error.message, hint=error.hint))


def _of_agent(event: AgentEvent) -> UpEvent:
    what = {
        "started": "starts",
        "ready": "ready",
        "exited": f"ended with {_exit(event.exit_code or 0)}",
        "restarting": f"starts again in {event.delay_s:.0f} s",
        "gave_up": "is not started again",
        "stopped": "stopped",
        "reloaded": "reloaded",
        "problem": "",
    }[event.kind]
    message = ": ".join(part for part in (what, event.message) if part)
    kind: EventKind = "problem" if event.kind in ("exited", "restarting", "gave_up", "problem") else "agent"
    return UpEvent(kind, message, event.hint, _instance_name(event), event.pid)


def _instance_name(event: AgentEvent) -> str:
    return f"{event.agent_id}-{event.number}" if event.number else event.agent_id


def _exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


# In the background


class Daemon(msgspec.Struct, frozen=True):
    """What a detached `mas up` is told on its standard input."""

    config_path: str
    url: str | None
    profile: str | None
    reload: bool
    status_fd: int


async def up_detached(
    project: Project,
    options: UpOptions,
    on_event: Callable[[UpEvent], None] = lambda _event: None,
    timeout: float = READY_SECONDS,  # noqa: ASYNC109 - the whole start has one deadline
) -> int:
    """Start the project in the background; returns its process id when everything is ready.

    Raises:
        DeadlineExceeded: It was not ready in time; it goes on starting.
        AgentFailed: It runs, but some agents do not.
        MasError: What `up` raises.
    """
    reader, writer = os.pipe()
    log = open_log(project.logs_dir / "up.log")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mas_core.ops.up_daemon",
        stdin=asyncio.subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=(writer,),
        start_new_session=True,
    )
    os.close(log)
    os.close(writer)
    told = Daemon(str(project.config_path), options.url, options.profile, options.reload, writer)
    if process.stdin is not None:
        process.stdin.write(msgspec.json.encode(told) + b"\n")
        process.stdin.close()
    events = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(events), os.fdopen(reader, "rb", buffering=0)
    )
    try:
        async with asyncio.timeout(timeout):
            while line := await events.readline():
                event = msgspec.json.decode(line, type=UpEvent)
                on_event(event)
                if event.kind == "failed":
                    raise _as_error(event)
                if event.kind == "ready":
                    if event.hint:
                        raise AgentFailed(event.message, hint=(*event.hint, "mas status"))
                    return process.pid
    except TimeoutError:
        raise DeadlineExceeded(
            f"not everything was ready within {timeout:g} s",
            hint=("mas status", f"look at {project.logs_dir / 'up.log'}"),
        ) from None
    finally:
        transport.close()
    raise InternalError(f"the background process ended early; see {project.logs_dir / 'up.log'}")


def _as_error(event: UpEvent) -> MasError:
    kinds: list[type[MasError]] = [MasError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = next((kind for kind in kinds if kind.code == event.code), MasError)
    return found(event.message, hint=event.hint)


async def down(project: Project, timeout: float = DOWN_SECONDS) -> int | None:  # noqa: ASYNC109
    """Stop what `up` runs; returns the process id it had, or None when nothing ran.

    Raises:
        DeadlineExceeded: It did not end in time.
    """
    running = read_running(project)
    if running is None:
        return None
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not running.is_alive or read_running(project) is None:
            await _until_gone(running.pid, deadline)
            return running.pid
        await asyncio.sleep(0.05)
    raise DeadlineExceeded(
        f"process {running.pid} did not end within {timeout:g} s", hint=f"kill -9 {running.pid}"
    )


async def _until_gone(pid: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if _is_zombie(pid):
            return
        await asyncio.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
