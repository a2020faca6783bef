"""Run a project: server, gateway and agents, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from mas_core.errors import ConfigurationError, GatewayDown, StoreUnreachable
from mas_core.model.event_messages import RECORDER
from mas_core.ops.agent_runs import (
    READY_SECONDS,
    OnEvent,
    ended,
    making_rounds,
    put_in_force,
    readiness,
    reloading,
    stopped,
    stopping,
    supervisor_of,
)
from mas_core.ops.agents import ensure_registered
from mas_core.ops.health.endpoint import Readiness, configured_address, serving_health
from mas_core.ops.run_events import RunEvent, ending
from mas_core.ops.scan_rules import scan_problems
from mas_core.ops.server_users import apply_at_start
from mas_core.ops.spec_choice import SpecChoice
from mas_core.ops.system import System
from mas_core.runner.service_process import Failure, ServiceProcess
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.project import Project
from mas_core.settings.project_config import LoadedConfig, load_config
from mas_core.settings.running_context import RunningContext, claimed, remove_running, write_running
from mas_core.settings.server_choice import ServerChoice, keep_choice, read_choice
from mas_core.settings.target import Target
from mas_core.settings.transport import wants_server
from mas_core.settings.yaml_documents import error_of
from mas_core.store.embedded_server import EmbeddedServer, ServerEvent
from mas_core.store.profiles import require_profile, server_facts, shortfalls

NOTARY_DELAY_S = 2.0
"""The notary starts when everything else is ready, or after this long: records can wait for it, people cannot."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What to run and how."""

    url: str | None = None
    """Use this server instead of the project's or the embedded one."""
    profile: str | None = None
    reload: bool = False
    """Restart agents when their spec or module changes."""
    ready_within: float = READY_SECONDS
    """Seconds that everything may take to get ready before what is missing is told."""
    force: bool = False
    """Go on although the server cannot keep what the profile promises."""
    hardened: bool = False
    """Users of the server for gateway, auditor, operator and each agent, and nobody as its default user."""
    secure: bool = False
    """Let agents go through a server under mutual TLS, with certificates that are made where they are missing."""

    @property
    def settings(self) -> dict[str, object]:
        """What they say about the fields of mas.yaml."""
        transport = "server" if self.secure else None
        return {"url": self.url, "profile": self.profile, "transport": transport}


async def up(
    project: Project,
    options: UpOptions,
    stop: asyncio.Event,
    on_event: OnEvent = lambda _event: None,
) -> bool:
    """Run the project until `stop` is set, then drain everything.

    Cancelled before everything is ready, it ends what has started; cancelled while it drains, it kills.

    Returns:
        Whether everything ended within its time.

    Raises:
        LockHeld: The project runs already.
        SpecInvalid: A spec or the policy cannot be used; nothing was started.
        StoreUnreachable: The server does not answer.
        ProfileUnmet: The server cannot keep what the profile promises.
        GatewayDown: The gateway did not start.
    """
    with claimed(project):
        options = as_before(project, options)
        loaded = load_config(project, options.settings)
        if loaded.url is None and loaded.config.profile == "ha":
            raise ConfigurationError(
                "the profile ha waits for a replica, and the embedded server has none",
                hint=("mas up --profile durable", "mas up --profile ha --url URL"),
            )
        url = loaded.server_url()
        if url is not None and url.startswith("memory:"):
            raise ConfigurationError(
                "a server in memory belongs to one process, and a project runs in several",
                hint=("mas up", "mas up --profile fast"),
            )
        specs = loaded.specs()
        if problems := scan_problems(loaded, loaded.policy(specs)):
            raise error_of(problems)
        supervisor_of(_target(loaded, ""), loaded, specs, on_event).check(specs)
        served_at = ("", "")
        if wants_server(loaded, specs):
            from mas_core.ops.server_mode import address_for  # noqa: PLC0415 - slow, and few projects need it

            served_at = address_for(loaded)
        async with _server(project, loaded, url, on_event) as (found, gave_up):
            return await _run(loaded, found, options, served_at, stop, gave_up, on_event)


async def _run(
    loaded: LoadedConfig,
    url: str,
    options: UpOptions,
    served_at: tuple[str, str],
    stop: asyncio.Event,
    server_gave_up: asyncio.Event,
    on_event: OnEvent,
) -> bool:
    project, specs = loaded.project, loaded.specs()
    deadline = time.monotonic() + options.ready_within
    GatewayKeys.load_or_create(project.keys_dir)
    target = await apply_at_start(_target(loaded, url), default_off=options.hardened)
    supervisor = supervisor_of(target, loaded, specs, on_event)
    gateway = _service(
        project, "gateway", "mas_core.gateway", on_event, ("--force",) if options.force else ()
    )
    grpc = _service(project, "grpc", "mas_core.server", on_event, (f"--listen={served_at[0]}",))
    notary = _service(project, "notary", "mas_core.audit", on_event)
    recorder = _service(project, "recorder", "mas_core.ops.event_recorder", on_event)
    ready = Readiness()
    async with System(target) as system, serving_health(target, configured_address(project, "runner"), ready):
        await check_profile(system, on_event, force=options.force)
        if loaded.url is not None:
            on_event(RunEvent("server", target.shown_url))
        _tell_others(target, loaded.url, served_at[1], secure=options.secure)
        found = "" if loaded.config.server_listen_addr else served_at[0]
        keep_choice(project, ServerChoice(options.secure, found or read_choice(project).address))
        try:
            await put_in_force(system, loaded, specs, loaded.policy(specs))
            if loaded.config.events.record:
                await ensure_registered(system, RECORDER, source="project")
            await gateway.start()
            await _until_owned(system, deadline)
            on_event(RunEvent("gateway", "takes messages", state="ready", pid=gateway.pid))
            if served_at[0]:
                from mas_core.ops.server_mode import start_server  # noqa: PLC0415

                where = await start_server(system, loaded, specs, grpc, deadline)
                on_event(RunEvent("grpc", f"agents connect to {where}", state="ready", pid=grpc.pid))
            await supervisor.start()
            async with (
                _later(notary, enabled=loaded.config.gateway.audit.notary) as start_notary,
                _later(recorder, enabled=loaded.config.events.record) as start_recorder,
            ):
                on_event(readiness(await supervisor.wait_ready(max(0.1, deadline - time.monotonic()))))
                start_notary.set()
                start_recorder.set()
            async with (
                making_rounds(supervisor, system, ready),
                reloading(supervisor, system, project, on_event, SpecChoice(), enabled=options.reload),
            ):
                await _first_of(stop, server_gave_up)
            on_event(await stopping(system, [spec.agent_id for spec in specs]))
        finally:
            try:
                drained = await ended(supervisor, stop)
            finally:
                # It settles what it has taken while there is a gateway.
                await recorder.stop()
                await grpc.stop()
                await gateway.stop()
                # The last one, so that it signs all that was recorded.
                await notary.stop()
                remove_running(project, os.getpid())
    if server_gave_up.is_set():
        raise StoreUnreachable(
            "the embedded server ends again and again",
            hint=f"tail {project.server_dir / 'server.log'}",
        )
    on_event(stopped(drained=drained))
    return drained


def as_before(project: Project, options: UpOptions) -> UpOptions:
    """The options, secure where the project ran so the last time and nothing says otherwise.

    Agents would reach the store again without anybody having said so.
    """
    if options.secure or not read_choice(project).secure:
        return options
    said = load_config(project, options.settings).config.transport
    return options if said is not None else replace(options, secure=True)


async def check_profile(system: System, on_event: OnEvent, *, force: bool) -> None:
    """Make sure that the server can keep what the system's profile promises; with `force` only say what it cannot.

    Raises:
        ProfileUnmet: It cannot.
        StoreUnreachable: The server does not answer.
    """
    if not force:
        await require_profile(system.store.connection, system.target.profile)
        return
    for found in shortfalls(system.target.profile, await server_facts(system.store.connection)):
        on_event(RunEvent("problem", found.message, (found.fix,), state="forced"))


def _target(loaded: LoadedConfig, url: str) -> Target:
    project, config = loaded.project, loaded.config
    return Target(
        url=url,
        namespace=config.namespace,
        partitions=config.partitions,
        profile=config.profile,
        project=project,
        keys_dir=project.keys_dir,
        tokens_dir=project.tokens_dir,
        name=config.name,
    )


def _tell_others(target: Target, url: str | None, agents_url: str, *, secure: bool) -> None:
    """Write down where the server is: as `url` says, so that a reference stays one; None for the embedded one."""
    if target.project is not None:
        context = RunningContext(
            url=url or target.url,
            namespace=target.namespace,
            partitions=target.partitions,
            profile=target.profile,
            pid=os.getpid(),
            started=int(time.time() * 1000),
            embedded=url is None,
            agents_url=agents_url,
            secure=secure,
        )
        write_running(target.project, context)


@asynccontextmanager
async def _server(
    project: Project, loaded: LoadedConfig, url: str | None, on_event: OnEvent
) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The URL of the server, and an event for when an embedded one is given up."""
    if url is not None:
        yield url, asyncio.Event()
        return

    def report(event: ServerEvent) -> None:
        if event.kind == "ready":
            on_event(RunEvent("server", "embedded Valkey", state="ready", pid=event.pid))
        elif event.kind != "stopped":
            on_event(RunEvent("problem", event.message, state=event.kind))

    server = EmbeddedServer(
        project.server_dir, project.run_dir, project.keys_dir, profile=loaded.config.profile, on_event=report
    )
    async with server:
        yield server.url, server.failed


async def _until_owned(system: System, deadline: float) -> None:
    while time.monotonic() < deadline:
        gateways = await system.gateways()
        owned = {partition for gateway in gateways for partition in gateway.partitions}
        if len(owned) == system.store.width:
            return
        await asyncio.sleep(0.05)
    raise GatewayDown("the gateway did not start", hint="tail .mas/logs/gateway.log")


def _service(
    project: Project,
    kind: Literal["gateway", "grpc", "notary", "recorder"],
    module: str,
    on_event: OnEvent,
    arguments: Sequence[str] = (),
) -> ServiceProcess:
    return ServiceProcess(
        module,
        f"{kind}.log",
        project,
        arguments,
        lambda code, failure: on_event(_of_service(kind, code, failure)),
        # Whether it works again is not known yet.
        lambda pid: on_event(RunEvent(kind, "started again", state="started", pid=pid)),
    )


def _of_service(kind: str, code: int, failure: Failure | None) -> RunEvent:
    told = f"the {kind} ended ({ending(code)}) and is started again"
    if failure is None:
        return RunEvent("problem", told, state="exited")
    return RunEvent("problem", f"{told}: {failure.reason}", failure.hint, state="exited", code=failure.code)


@asynccontextmanager
async def _later(service: ServiceProcess, *, enabled: bool) -> AsyncIterator[asyncio.Event]:
    """Start a service when the event is set or after a while: nobody has to wait for it, nor it for long."""
    due = asyncio.Event()

    async def start() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(due.wait(), NOTARY_DELAY_S)
        await service.start()

    starting = asyncio.create_task(start()) if enabled else None
    try:
        yield due
        if starting is not None:
            await starting
    finally:
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
