"""A proxy between a client and a server that can be told to cut, delay, swallow and refuse.

It runs in a thread with a loop of its own, so that nothing of what is tested shares its fate, and understands
just enough of the protocol of Redis to cut a connection at a certain command: before it was forwarded, in the
middle of it, or after the server answered and before the answer was passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import hiredis

At = Literal["before", "within", "after"]
How = Literal["reset", "half_open"]
Command = list[bytes]

CHUNK = 65_536


@dataclass(eq=False)
class Cut:
    """One cut, made at the first command that fits."""

    matches: Callable[[Command], bool]
    at: At = "before"
    how: How = "reset"
    made: threading.Event = field(default_factory=threading.Event)
    """Set once the connection is cut."""


@dataclass(eq=False)
class Drop:
    """The connection on which one byte more passes in a direction is reset before it does."""

    left: int
    to_server: bool
    made: threading.Event = field(default_factory=threading.Event)


class _Link:
    """One connection through the proxy."""

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.near = near
        self.far: asyncio.StreamWriter | None = None
        self.is_dead = False
        """Half-open: nothing passes any more, and nobody is told."""
        self.sent = self.answered = 0
        self.due: tuple[int, Cut] | None = None
        """The answer at which it is cut, and the cut."""

    def reset(self) -> None:
        for end in self._ends:
            _reset(end)

    async def close(self) -> None:
        """Pass on what was read, for as long as anybody takes it, and close; cancelled it is reset."""
        for end in self._ends:
            end.close()
        try:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    await end.wait_closed()
        finally:
            self.reset()

    @property
    def _ends(self) -> list[asyncio.StreamWriter]:
        return [end for end in (self.near, self.far) if end is not None]


class Proxy:
    """Forwards connections to `upstream`: the path of a unix socket, or host and port.

    A raw one looks at nothing that passes, as for the stream of a replica.
    Use it as a context manager. What is set or called from outside may come from any thread.
    """

    def __init__(
        self, upstream: Path | tuple[str, int], *, host: str = "127.0.0.1", is_raw: bool = False
    ) -> None:
        self.upstream = upstream
        """May be replaced; connections that are made from then on lead there."""
        self.delay_s = 0.0
        """How long each piece waits here."""
        self.is_refusing = False
        """Whether new connections are reset at once."""
        self.port = 0
        self._host = host
        self._is_raw = is_raw
        self._cuts: deque[Cut] = deque()
        self._drops: deque[Drop] = deque()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._flowing = asyncio.Event()
        self._flowing.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._take, self._host, 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, password: str = "") -> str:
        """The URL of the server behind the proxy."""
        secret = f":{password}@" if password else ""
        return f"redis://{secret}{self._host}:{self.port}"

    def arm(self, cut: Cut) -> Cut:
        """Make a cut when its command comes; of several that fit, the one armed first."""
        self._cuts.append(cut)
        return cut

    def drop_after(self, count: int, *, to_server: bool) -> Drop:
        """Reset the connection on which byte `count` from now on would pass in this direction."""
        drop = Drop(count, to_server)
        self._drops.append(drop)
        return drop

    def disarm(self) -> None:
        """Forget what was not cut yet."""
        self._cuts.clear()
        self._drops.clear()

    def reset_all(self) -> None:
        """Reset every connection."""
        self._run(self._reset_all())

    def freeze(self) -> None:
        """Forward nothing any more and close nothing: half-open connections, new ones included."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def thaw(self) -> None:
        """Forward again, and what came meanwhile first."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def _run(self, work: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _close(self) -> None:
        self._server.close()
        # What was just accepted has its task a moment later.
        await asyncio.sleep(0.01)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)
        # Transports that were reset let go of their sockets in the next turn of the loop.
        await asyncio.sleep(0)

    async def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._accept(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            _reset(writer)
            return
        link = _Link(writer)
        self._links.add(link)
        try:
            await self._flowing.wait()
            if isinstance(self.upstream, Path):
                far_reader, link.far = await asyncio.open_unix_connection(str(self.upstream))
            else:
                far_reader, link.far = await asyncio.open_connection(*self.upstream)
            ways = [
                asyncio.create_task(self._forward_commands(link, reader, link.far)),
                asyncio.create_task(self._forward_answers(link, far_reader)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            link.reset()
        finally:
            # Until nothing is open any more it can be reset from outside.
            try:
                await link.close()
            finally:
                self._links.discard(link)

    async def _forward_commands(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        commands = hiredis.Reader()
        while data := await _read(reader):
            await self._pass(link)
            if self._drops_at(len(data), to_server=True):
                link.reset()
                return
            if self._is_raw:
                writer.write(data)
                await _drain(writer)
                continue
            commands.feed(data)
            while (command := commands.gets()) is not False:
                packed = hiredis.pack_command(tuple(command))
                cut = next((cut for cut in self._cuts if cut.matches(command)), None)
                if cut is not None:
                    self._cuts.remove(cut)
                    if cut.at == "after":
                        link.due = (link.sent, cut)
                    else:
                        if cut.at == "within":
                            writer.write(packed[: len(packed) // 2])
                            await writer.drain()
                        await self._end(link, cut)
                        return
                link.sent += 1
                writer.write(packed)
            await _drain(writer)

    async def _forward_answers(self, link: _Link, reader: asyncio.StreamReader) -> None:
        answers = hiredis.Reader(replyError=_Error)
        while data := await _read(reader):
            await self._pass(link)
            if self._drops_at(len(data), to_server=False):
                link.reset()
                return
            if self._is_raw:
                link.near.write(data)
                await _drain(link.near)
                continue
            answers.feed(data)
            while answers.gets() is not False:
                link.answered += 1
            if link.due is not None and link.answered > link.due[0]:
                await self._end(link, link.due[1])
                return
            link.near.write(data)
            await _drain(link.near)

    async def _end(self, link: _Link, cut: Cut) -> None:
        if cut.how == "reset":
            link.reset()
            cut.made.set()
            return
        link.is_dead = True
        cut.made.set()
        await asyncio.Event().wait()

    async def _pass(self, link: _Link) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if link.is_dead:
            await asyncio.Event().wait()
        await self._flowing.wait()

    def _drops_at(self, count: int, *, to_server: bool) -> bool:
        for drop in list(self._drops):
            if drop.to_server == to_server:
                drop.left -= count
                if drop.left <= 0:
                    self._drops.remove(drop)
                    drop.made.set()
                    return True
        return False


class _Error(Exception):
    """An error that the server answered with; here only counted."""


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(CHUNK)
    except OSError:
        return b""


async def _drain(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a connection ends whose other side knows nothing of it."""
    connected = writer.get_extra_info("socket")
    if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
