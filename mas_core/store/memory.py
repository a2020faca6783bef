"""The fake server behind `memory://`: the same commands, in this process, lost with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import fakeredis
from redis import exceptions

from mas_core.store.wire import Command, ServerError

_servers: dict[str, fakeredis.FakeServer] = {}
_waiting: dict[tuple[str, int], set[asyncio.Event]] = {}

POLL_S = 0.1
"""How soon a waiting command sees what another event loop of this process wrote."""


class MemoryWires:
    """A stand-in for `Wires`; equal URLs share one store in the process."""

    def __init__(self, url: str) -> None:
        server = _servers.setdefault(url, fakeredis.FakeServer())
        self._client = fakeredis.FakeAsyncRedis(server=server, protocol=2)
        self._url = url

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out commands; the replies, errors among them."""
        with _cancellation_kept():
            async with self._client.pipeline(transaction=False) as batch:
                for command in commands:
                    batch.execute_command(*command)
                replies: list[Any] = await batch.execute(raise_on_error=False)
        for event in self._events():
            event.set()
        return [
            ServerError(str(reply)) if isinstance(reply, exceptions.RedisError) else reply
            for reply in replies
        ]

    async def execute_blocking(self, command: Command) -> Any:
        """Carry out a command that may wait.

        It is asked again whenever something was written: a command that waits inside the fake goes on there
        after its caller was cancelled, and takes messages that nobody gets.
        """
        if "BLOCK" not in command:
            return (await self.execute([command]))[0]
        place = command.index("BLOCK")
        asking = command[:place] + command[place + 2 :]
        event = asyncio.Event()
        self._events().add(event)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + int(command[place + 1]) / 1000
        try:
            while True:
                event.clear()
                # Asking is not cut short: what it takes would be lost.
                if reply := await self._ask(asking):
                    return reply
                left = deadline - loop.time()
                if left <= 0:
                    return None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(POLL_S, left)):
                        await event.wait()
        finally:
            self._events().discard(event)

    async def _ask(self, command: Command) -> Any:
        with _cancellation_kept():
            try:
                return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
            except exceptions.RedisError as error:
                return ServerError(str(error))

    def _events(self) -> set[asyncio.Event]:
        """The commands that wait in this event loop."""
        return _waiting.setdefault((self._url, id(asyncio.get_running_loop())), set())

    async def execute_apart(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out commands that may wait, one after the other."""
        return [await self.execute_blocking(command) for command in commands]

    async def execute_covered(
        self, commands: Sequence[Command], _replicas: int, _timeout_ms: int
    ) -> tuple[list[Any], int]:
        """Carry out commands; there are no replicas."""
        return await self.execute(commands), 0

    async def execute_everywhere(self, commands: Sequence[Command]) -> dict[str, list[Any]]:
        """Carry out commands."""
        return {"": await self.execute(commands)}

    async def execute_at(self, _place: str, commands: Sequence[Command]) -> list[Any]:
        """Carry out commands."""
        return await self.execute(commands)

    def drop(self) -> None:
        """There are no connections."""

    async def close(self) -> None:
        """Leave the store; it stays for others in this process."""
        await self._client.aclose()


def forget_memory(url: str) -> None:
    """Drop what a `memory://` URL holds in this process."""
    _servers.pop(url, None)
    for place in [place for place in _waiting if place[0] == url]:
        del _waiting[place]


@contextmanager
def _cancellation_kept() -> Iterator[None]:
    """Raise a cancellation that redis-py took for its own: it swallows one that comes while it connects."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
