"""Chooses the wires that a URL asks for, once, so that none pays for what another needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mas_core.errors import ConfigurationError
from mas_core.store.cluster import ClusterWires
from mas_core.store.sentinel import SentinelWires
from mas_core.store.urls import StoreUrl, read_store_url, safe_url
from mas_core.store.wire import Command, Wires

if TYPE_CHECKING:
    from mas_core.store.memory import MemoryWires


def wires_of(
    url: str, timeout: float, decided: Callable[[Wires | ClusterWires], None]
) -> Wires | ClusterWires | MemoryWires | UndecidedWires:
    """The wires of a URL; nothing is connected yet.

    Args:
        url: As `read_store_url` takes it, or memory://NAME.
        timeout: Seconds to wait for a connection or an answer beyond what a command itself may block.
        decided: Gets other wires to use from then on, when it is known what is behind the URL.

    Raises:
        ConfigurationError: The URL cannot be read.
    """
    if url.startswith("memory:"):
        from mas_core.store.memory import MemoryWires  # noqa: PLC0415 - slow to import, and seldom needed

        return MemoryWires(url)
    try:
        found = read_store_url(url)
    except ValueError as error:
        raise ConfigurationError(
            f"{safe_url(url)!r} is not the URL of a server",
            hint=(
                "URLs look like redis://HOST:6379/0, rediss://..., unix:///path/to/socket, memory://,",
                "redis+cluster://HOST:PORT,HOST:PORT or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE",
            ),
        ) from error
    if found.kind == "cluster":
        return ClusterWires(found.options, found.addresses, timeout)
    if found.kind == "sentinel":
        return SentinelWires(
            found.options, found.addresses, found.service, found.sentinel_options or {}, timeout
        )
    if found.options.get("path") or found.options.get("db"):
        return Wires(found.options, timeout)
    return UndecidedWires(found, timeout, decided)


class UndecidedWires:
    """The wires of a URL that names one server, which may be a node of a Cluster: the first call finds out."""

    def __init__(
        self, url: StoreUrl, timeout: float, decided: Callable[[Wires | ClusterWires], None]
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._decided = decided
        self._deciding = asyncio.Lock()
        self._wires: Wires | ClusterWires | None = None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """As of the wires that it turns out to need."""
        return await (await self._decide()).execute(commands)

    async def execute_blocking(self, command: Command) -> Any:
        """As of the wires that it turns out to need."""
        return await (await self._decide()).execute_blocking(command)

    async def execute_apart(self, commands: Sequence[Command]) -> list[Any]:
        """As of the wires that it turns out to need."""
        return await (await self._decide()).execute_apart(commands)

    async def execute_covered(
        self, commands: Sequence[Command], replicas: int, timeout_ms: int
    ) -> tuple[list[Any], int]:
        """As of the wires that it turns out to need."""
        return await (await self._decide()).execute_covered(commands, replicas, timeout_ms)

    async def execute_everywhere(self, commands: Sequence[Command]) -> dict[str, list[Any]]:
        """As of the wires that it turns out to need."""
        return await (await self._decide()).execute_everywhere(commands)

    async def execute_at(self, place: str, commands: Sequence[Command]) -> list[Any]:
        """As of the wires that it turns out to need."""
        return await (await self._decide()).execute_at(place, commands)

    def drop(self) -> None:
        """There is nothing to end."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def _decide(self) -> Wires | ClusterWires:
        async with self._deciding:
            if self._wires is None:
                self._wires = await self._find_out()
                self._decided(self._wires)
            return self._wires

    async def _find_out(self) -> Wires | ClusterWires:
        options = self._url.options
        single = Wires(options, self._timeout)
        try:
            # Unlike INFO, every user of a server may say HELLO (without a version it changes nothing).
            (facts,) = await single.execute([("HELLO",)])
        except BaseException:
            await single.close()
            raise
        if not (isinstance(facts, list) and b"cluster" in facts):
            return single
        await single.close()
        seed = (str(options.get("host", "localhost")), int(options.get("port", 6379)))
        return ClusterWires(options, [seed], self._timeout)
