"""The wire to a real server: commands go out as they come and replies are matched in order.

redis-py's own asyncio client spends ten times the time of the command itself on each call. Here one connection
carries the commands of all tasks, so what is sent at the same time shares a system call, and every command
that waits in the server has a connection to itself. redis-py still reads the URLs, and hiredis speaks the protocol
(RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

Argument = str | bytes | int
Command = tuple[Argument, ...]

WATCH_INTERVAL_S: Final = 1.0
MAX_IDLE_WIRES: Final = 8
BUFFER_BYTES: Final = 1 << 20
"""What the system takes at once; it may take less."""


class ServerError(Exception):
    """The server answered with an error."""


class ConnectionLost(Exception):
    """There is no connection, or it ended before the answer came."""


_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]


class _Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        # Kept, as asking for it costs a system call each time.
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=ServerError)
        self._waiting: deque[tuple[asyncio.Future[list[Any]], int, list[Any]]] = deque()
        self._transport: asyncio.Transport | None = None
        self._progress = 0.0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def stalled_since(self) -> float | None:
        """Loop time since which an answer is due; None when none is."""
        return self._progress if self._waiting else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport) or hasattr(transport, "write"):
            self._transport = transport  # type: ignore[assignment]
        if (connected := transport.get_extra_info("socket")) is not None:
            # A commit goes out in one piece, however large.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        reason = ConnectionLost(str(exc) if exc else "the server closed the connection")
        while self._waiting:
            future, _, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(reason)
                # Whoever waited may have been cancelled meanwhile; then nobody asks.
                future.exception()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._progress = self._loop.time()
        try:
            while (reply := self._reader.gets()) is not False:
                future, count, replies = self._waiting[0]
                replies.append(reply)
                if len(replies) == count:
                    self._waiting.popleft()
                    if not future.done():
                        future.set_result(replies)
        except (hiredis.ProtocolError, IndexError) as error:
            self.abort()
            self.connection_lost(error)

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(ConnectionLost("the connection is closed"))
            return future
        if not self._waiting:
            self._progress = self._loop.time()
        self._waiting.append((future, len(commands), []))
        if len(commands) == 1:
            self._transport.write(_pack(commands[0]))
        else:
            self._transport.write(b"".join(map(_pack, commands)))
        return future

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Wires:
    """The connections to one server.

    Args:
        url: redis://, rediss:// or unix://.
        timeout: Seconds to wait for a connection, and for an answer beyond what a command may block.

    Raises:
        ValueError: The URL cannot be read.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._options: dict[str, Any] = dict(parse_url(url))
        self._timeout = timeout
        self._shared: _Wire | None = None
        self._connecting = asyncio.Lock()
        self._idle: list[_Wire] = []
        self._busy: set[_Wire] = set()
        self._watching: asyncio.Task[None] | None = None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one go; the replies, errors among them.

        Raises:
            ConnectionLost: It is unknown which were carried out.
        """
        wire = self._shared
        if wire is None or not wire.is_open:
            async with self._connecting:
                wire = self._shared
                if wire is None or not wire.is_open:
                    wire = self._shared = await self._connect()
        return await wire.send(commands)

    async def execute_blocking(self, command: Command) -> Any:
        """Send one command that may wait in the server for a while; errors as for `execute_apart`."""
        return (await self.execute_apart([command]))[0]

    async def execute_apart(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands that may wait in the server, on a connection that nothing else uses meanwhile.

        Raises:
            ConnectionLost: It is unknown which were carried out.
        """
        wire = self._idle.pop() if self._idle else await self._connect()
        self._busy.add(wire)
        try:
            replies = await wire.send(commands)
        except BaseException:
            # Its answer may still be on the way, so nothing else can use this connection.
            wire.abort()
            raise
        finally:
            self._busy.discard(wire)
        if wire.is_open and len(self._idle) < MAX_IDLE_WIRES:
            self._idle.append(wire)
        else:
            wire.abort()
        return replies

    async def close(self) -> None:
        """Close all connections."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        for wire in (self._shared, *self._idle, *self._busy):
            if wire is not None:
                wire.abort()
        self._shared = None
        self._idle.clear()
        # The transports close in the next turn of the loop.
        await asyncio.sleep(0)

    async def _connect(self) -> _Wire:
        wire = _Wire()
        try:
            async with asyncio.timeout(self._timeout):
                await self._open(wire)
                await self._introduce(wire)
        except TimeoutError:
            wire.abort()
            raise ConnectionLost(f"no answer within {self._timeout:g} s") from None
        except OSError as error:
            raise ConnectionLost(error.strerror or str(error)) from error
        except BaseException:
            wire.abort()
            raise
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        return wire

    async def _open(self, wire: _Wire) -> None:
        loop = asyncio.get_running_loop()
        options = self._options
        if path := options.get("path"):
            await loop.create_unix_connection(lambda: wire, path)
            return
        context = _tls(options)
        host, port = str(options.get("host", "localhost")), int(options.get("port", 6379))
        await loop.create_connection(
            lambda: wire, host, port, ssl=context, server_hostname=host if context else None
        )

    async def _introduce(self, wire: _Wire) -> None:
        commands: list[Command] = []
        if password := self._options.get("password"):
            user = self._options.get("username")
            commands.append(("AUTH", str(user), str(password)) if user else ("AUTH", str(password)))
        if database := int(self._options.get("db") or 0):
            commands.append(("SELECT", database))
        for reply in await wire.send(commands) if commands else ():
            if isinstance(reply, ServerError):
                wire.abort()
                raise reply

    async def _watch(self) -> None:
        """End connections whose answer is overdue: the other side may be gone without a word."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            for wire in (self._shared, *self._busy):
                since = wire.stalled_since if wire is not None else None
                if wire is not None and since is not None and loop.time() - since > self._timeout:
                    wire.abort()


def _tls(options: dict[str, Any]) -> ssl.SSLContext | None:
    if not issubclass(options.get("connection_class", object), SSLConnection):
        return None
    context = ssl.create_default_context(
        cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path")
    )
    if str(options.get("ssl_check_hostname", "true")).lower() in ("false", "0", "no"):
        context.check_hostname = False
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"), options.get("ssl_password"))
    return context
