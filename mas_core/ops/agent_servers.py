"""Servers of agents: what agents reach through gRPC under mutual TLS instead of the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from mas_core.errors import ConfigurationError, DeadlineExceeded
from mas_core.model.agent_server_status import AgentServerStatus
from mas_core.ops.agent_runs import OnEvent
from mas_core.ops.run_events import RunEvent
from mas_core.ops.system import System
from mas_core.server.place import place_of
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target
from mas_core.settings.transport import wants_server

if TYPE_CHECKING:
    from mas_core.server.handshakes import GrpcLog

__all__ = [
    "START_SECONDS",
    "AgentServerStatus",
    "AgentServersStatus",
    "agent_servers_status",
    "check_agent_server",
    "grpc_log",
    "require_grpc",
    "run_agent_server",
]

START_SECONDS = 30.0
DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class AgentServersStatus:
    """Who takes agents in."""

    servers: list[AgentServerStatus]
    now: int
    """Unix milliseconds by the store's clock."""
    is_wanted: bool = False
    """Whether the project says that agents go through one."""

    @property
    def alarms(self) -> list[str]:
        """What is wrong and needs an operator, in words."""
        return [f"{item.server_id}: {alarm}" for item in self.servers for alarm in item.alarms(self.now)]


def require_grpc() -> None:
    """Make sure that gRPC is installed and can be loaded.

    Raises:
        ConfigurationError: It is not, or cannot.
    """
    try:
        for name in ("grpc", "grpc_health.v1.health", "grpc_reflection.v1alpha.reflection"):
            import_module(name)
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError)
        problem = "which is not installed" if is_missing else f"which cannot be loaded: {error}"
        raise ConfigurationError(
            f"server mode needs gRPC, {problem}", hint="python -m pip install 'mas[grpc]'"
        ) from error


@contextmanager
def grpc_log() -> Iterator[GrpcLog]:
    """Within the block, what gRPC says of handshakes is read from this process's standard error."""
    from mas_core.server.handshakes import GrpcLog  # noqa: PLC0415 - only servers need it

    log = GrpcLog()
    try:
        yield log
    finally:
        log.close()


async def run_agent_server(
    target: Target,
    stop: asyncio.Event,
    on_event: OnEvent = lambda _event: None,
    *,
    server_id: str = "",
    listen: str = "",
    ready_within: float = START_SECONDS,
    drain_s: float = DRAIN_SECONDS,
    log: GrpcLog | None = None,
) -> None:
    """Run a server of agents until `stop` is set, then send them away.

    Args:
        target: The system, with its project.
        stop: Ends it.
        on_event: Gets what happens.
        server_id: Its name; made up when left out.
        listen: host:port instead of that of the settings.
        ready_within: Seconds until it has to listen.
        drain_s: Seconds that calls in hand are given.
        log: What tells of handshakes that fail.

    Raises:
        ConfigurationError: gRPC is not installed, or address or certificate cannot be used.
        SecretUnavailable: The gateway's keys or those of the certificate are not at hand.
        LockHeld: A server of this name runs already.
        StoreUnreachable: The store does not answer.
        DeadlineExceeded: It does not listen in time.
    """
    require_grpc()
    from mas_core.server.process import Change, serve  # noqa: PLC0415 - gRPC takes long to load

    ready = asyncio.Event()

    def tell(change: Change, address: str) -> None:
        if change == "ready":
            ready.set()
            on_event(RunEvent("ready", f"agents can connect to {address}"))
        else:
            on_event(RunEvent("stopping", "agents are sent away"))

    serving = asyncio.create_task(
        serve(
            target,
            place_of(target, listen),
            stop,
            server_id=server_id,
            grpc_log=log,
            on_change=tell,
            drain_s=drain_s,
        )
    )
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait((serving, waiting), timeout=ready_within, return_when=asyncio.FIRST_COMPLETED)
        if not (serving.done() or ready.is_set()):
            raise DeadlineExceeded(f"not listening after {ready_within:g} s", hint="mas status")
        await serving
    finally:
        waiting.cancel()
        serving.cancel()
        await asyncio.gather(waiting, serving, return_exceptions=True)
    on_event(RunEvent("stopped", "the server has ended"))


async def check_agent_server(target: Target, *, server_id: str = "", listen: str = "") -> AgentServersStatus:
    """Find out whether a server could be run, and change nothing; those that run already.

    Raises:
        ConfigurationError, SecretUnavailable, LockHeld, StoreUnreachable: As by `run_agent_server`.
    """
    require_grpc()
    from mas_core.server.process import check  # noqa: PLC0415 - gRPC takes long to load

    await check(target, place_of(target, listen), server_id=server_id)
    async with System(target) as system:
        return await agent_servers_status(system)


async def agent_servers_status(system: System) -> AgentServersStatus:
    """The servers that run now.

    Raises:
        StoreUnreachable: The store does not answer.
    """
    servers = await system.agent_servers()
    project, is_wanted = system.target.project, False
    if project is not None:
        with contextlib.suppress(ConfigurationError):
            loaded = load_config(project)
            is_wanted = wants_server(loaded, loaded.specs())
    return AgentServersStatus(servers, await system.store.connection.time_ms(), is_wanted)
