"""The fake server behind `memory://`: the same commands, in this process, lost with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import fakeredis
from redis import exceptions

from mas_core.store.wire import Command, ServerError

_servers: dict[str, fakeredis.FakeServer] = {}


class MemoryWires:
    """A stand-in for `Wires`; equal URLs share one store in the process."""

    def __init__(self, url: str) -> None:
        server = _servers.setdefault(url, fakeredis.FakeServer())
        self._client = fakeredis.FakeAsyncRedis(server=server, protocol=2)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out commands; the replies, errors among them."""
        async with self._client.pipeline(transaction=False) as batch:
            for command in commands:
                batch.execute_command(*command)
            with _cancellation_kept():
                replies: list[Any] = await batch.execute(raise_on_error=False)
        return [
            ServerError(str(reply)) if isinstance(reply, exceptions.RedisError) else reply
            for reply in replies
        ]

    async def execute_blocking(self, command: Command) -> Any:
        """Carry out a command that may wait."""
        with _cancellation_kept():
            try:
                return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
            except exceptions.RedisError as error:
                return ServerError(str(error))

    async def close(self) -> None:
        """Leave the store; it stays for others in this process."""
        await self._client.aclose()


def forget_memory(url: str) -> None:
    """Drop what a `memory://` URL holds in this process."""
    _servers.pop(url, None)


@contextmanager
def _cancellation_kept() -> Iterator[None]:
    """Raise a cancellation that redis-py took for its own: it swallows one that comes while it connects."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
