"""Health and metrics over HTTP, served by gateways and runners beside their work."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Literal

import msgspec

from mas_core.base.clock import rfc3339
from mas_core.base.http_get import Answer, HttpGet, Route
from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError
from mas_core.gateway.process import Change
from mas_core.ops.health.check import HealthWatch
from mas_core.ops.health.report import HealthItem, HealthStatus, worst
from mas_core.ops.system import System
from mas_core.settings.health_settings import Address
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target

log = get_logger(__name__)


class Readiness:
    """Whether a process does its work: first it has to say so, then its work has to move."""

    def __init__(self) -> None:
        self.process = ""
        """Id of the gateway or runner, once it takes work."""

    def concerns(self, item: HealthItem) -> bool:
        """Whether an item is about this process or what it cannot work without."""
        return item.name == "store" or item.process == self.process


def configured_address(project: Project | None, kind: Literal["gateway", "runner"]) -> Address | None:
    """Where the files of a project say that health is served; nowhere when they do not."""
    if project is None:
        return None
    settings = load_config(project).config.health
    return settings.address_of(settings.gateway if kind == "gateway" else settings.runner)


@contextlib.asynccontextmanager
async def gateway_health(
    target: Target, address: Address | None = None
) -> AsyncIterator[Callable[[Change, str], None]]:
    """Within the block, a gateway's health is served, at `address` or where the project says.

    Gives what is to be told when the gateway takes messages and when it drains.

    Raises:
        ConfigurationError: This address cannot be had.
    """
    ready = Readiness()

    def tell(change: Change, gateway_id: str) -> None:
        ready.process = gateway_id if change == "ready" else ""

    place = address or configured_address(target.project, "gateway")
    async with serving_health(target, place, ready, is_required=address is not None):
        yield tell


@contextlib.asynccontextmanager
async def serving_health(
    target: Target, address: Address | None, ready: Readiness, *, is_required: bool = False
) -> AsyncIterator[int]:
    """Within the block, health is served at `address`; gives the port, 0 when nothing is served.

    Args:
        target: The system to look at, over a connection of its own.
        address: Where; nowhere when None.
        ready: What /health/ready asks.
        is_required: Whether an address that cannot be had is an error, or only told in the log.

    Raises:
        ConfigurationError: The address cannot be had.
    """
    if address is None:
        yield 0
        return
    # It has to answer while the server does not, so this does not wait for it.
    system = System(target)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(system.store.close)
        server = HttpGet(address.host, address.port, routes(HealthWatch(system), lambda: ready))
        try:
            await stack.enter_async_context(server)
        except OSError as error:
            if is_required:
                raise ConfigurationError(
                    f"health cannot be served at {address}: {error.strerror}", hint="choose another port"
                ) from error
            log.error("health.unavailable", address=str(address), reason=error.strerror)
            yield 0
        else:
            log.info("health.serving", address=str(Address(address.host, server.port)))
            yield server.port


def routes(watch: HealthWatch, readiness: Callable[[], Readiness]) -> dict[str, Route]:
    """Path -> what answers it."""

    async def health() -> Answer:
        report = await watch.report()
        return _answer(report.status, report.items)

    async def live() -> Answer:
        # That it is said is the proof: a loop that is blocked says nothing.
        return _answer("ok", ())

    async def ready() -> Answer:
        asked = readiness()
        if not asked.process:
            return _answer("red", (HealthItem("process", "red", "it is not ready yet"),))
        items = tuple(item for item in (await watch.report()).items if asked.concerns(item))
        return _answer(worst(items), items)

    async def metrics() -> Answer:
        from mas_core.ops.health.metrics import CONTENT_TYPE, metrics_text  # noqa: PLC0415 - few ask

        return Answer(metrics_text(*await watch.look()), content_type=CONTENT_TYPE)

    return {"/health": health, "/health/live": live, "/health/ready": ready, "/metrics": metrics}


def _answer(status: HealthStatus, items: tuple[HealthItem, ...]) -> Answer:
    body = {"status": status, "items": [_shown(item) for item in items]}
    code = HTTPStatus.SERVICE_UNAVAILABLE if status == "red" else HTTPStatus.OK
    return Answer(msgspec.json.encode(body), code)


def _shown(item: HealthItem) -> dict[str, object]:
    return {
        "name": item.name,
        "status": item.status,
        "since": _moment(item.since),
        "reason": item.reason,
        "fix": item.fix,
    }


def _moment(milliseconds: int) -> str | None:
    """As RFC 3339; None for what no clock says."""
    try:
        return rfc3339(milliseconds) if milliseconds else None
    except (OverflowError, ValueError, OSError):
        return None
