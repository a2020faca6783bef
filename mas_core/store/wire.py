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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import hiredis
from redis.asyncio.connection import SSLConnection

Argument = str | bytes | int
Command = tuple[Argument, ...]

WATCH_INTERVAL_S: Final = 1.0
MAX_IDLE_WIRES: Final = 8
BUFFER_BYTES: Final = 1 << 20
"""What the system takes at once; it may take less."""


class Failure(Exception):
    """What there is in place of an answer."""


class ServerError(Failure):
    """The server answered with an error."""


class ConnectionLost(Failure):
    """The connection ended before the answer came: it is unknown what was carried out."""


class NotSent(ConnectionLost):
    """There was no connection, so nothing was carried out."""


pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]


class Wire(asyncio.Protocol):
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
        """Whether commands can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def stalled_since(self) -> float | None:
        """Loop time since which an answer is due; None when none is."""
        return self._progress if self._waiting else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        if isinstance(transport, asyncio.Transport) or hasattr(transport, "write"):
            self._transport = transport  # type: ignore[assignment]
        if (connected := transport.get_extra_info("socket")) is not None:
            # A commit goes out in one piece, however large.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._transport = None
        reason = ConnectionLost(str(exc) if exc else "the server closed the connection")
        while self._waiting:
            future, _, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(reason)
                # Whoever waited may have been cancelled meanwhile; then nobody asks.
                future.exception()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
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
        """Send commands in one go; the future gives their replies, errors among them."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(NotSent("the connection is closed"))
            return future
        if not self._waiting:
            self._progress = self._loop.time()
        self._waiting.append((future, len(commands), []))
        if len(commands) == 1:
            self._transport.write(pack(commands[0]))
        else:
            self._transport.write(b"".join(map(pack, commands)))
        return future

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()


class Wires:
    """The connections to one server.

    Args:
        options: Its place, user, password, database and TLS, as redis-py reads them from a URL.
        timeout: Seconds to wait for an answer beyond what a command may block.
        connect_timeout: Seconds to wait for a connection; `timeout` when left out.
    """

    def __init__(
        self, options: Mapping[str, Any], timeout: float, *, connect_timeout: float | None = None
    ) -> None:
        self._options = dict(options)
        self._timeout = timeout
        self._connect_timeout = connect_timeout or timeout
        self._shared: Wire | None = None
        self._connecting = asyncio.Lock()
        self._idle: list[Wire] = []
        self._busy: set[Wire] = set()
        self._watching: asyncio.Task[None] | None = None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one go; the replies, errors among them.

        Raises:
            NotSent: The server cannot be reached.
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

    async def execute_covered(
        self, commands: Sequence[Command], replicas: int, timeout_ms: int
    ) -> tuple[list[Any], int]:
        """Send commands, and wait behind them until so many replicas have what they wrote.

        Returns:
            The replies, errors among them, and how many replicas have it.

        Raises:
            ConnectionLost: It is unknown which were carried out.
        """
        # WAIT looks at the writes of its own connection.
        *replies, reached = await self.execute_apart([*commands, ("WAIT", replicas, timeout_ms)])
        return replies, reached if isinstance(reached, int) else 0

    async def execute_everywhere(self, commands: Sequence[Command]) -> dict[str, list[Any]]:
        """Send the same commands to every server that takes writes; replies by the server's place."""
        return {"": await self.execute(commands)}

    async def execute_at(self, _place: str, commands: Sequence[Command]) -> list[Any]:
        """Send commands to one of the places that `execute_everywhere` told."""
        return await self.execute(commands)

    @property
    def stalled_s(self) -> float:
        """For how long an answer is due, in seconds."""
        now = asyncio.get_running_loop().time()
        wires = (self._shared, *self._busy)
        return max((now - wire.stalled_since for wire in wires if wire and wire.stalled_since), default=0.0)

    def drop(self) -> None:
        """End all connections; what is called next makes new ones."""
        for wire in (self._shared, *self._idle, *self._busy):
            if wire is not None:
                wire.abort()
        self._shared = None
        self._idle.clear()

    async def close(self) -> None:
        """Close all connections."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        self.drop()
        # The transports close in the next turn of the loop.
        await asyncio.sleep(0)

    async def _connect(self) -> Wire:
        wire = Wire()
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._open(wire)
                await self._introduce(wire)
        except TimeoutError:
            wire.abort()
            raise NotSent(f"no answer within {self._connect_timeout:g} s") from None
        except OSError as error:
            wire.abort()
            raise NotSent(error.strerror or str(error)) from error
        except ConnectionLost as error:
            wire.abort()
            raise NotSent(str(error)) from error
        except BaseException:
            wire.abort()
            raise
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        return wire

    async def _open(self, wire: Wire) -> None:
        loop = asyncio.get_running_loop()
        options = self._options
        if path := options.get("path"):
            await loop.create_unix_connection(lambda: wire, path)
            return
        context = _tls(options)
        host, port = await self._address()
        await loop.create_connection(
            lambda: wire, host, port, ssl=context, server_hostname=host if context else None
        )

    async def _address(self) -> tuple[str, int]:
        """Where the server is."""
        return str(self._options.get("host", "localhost")), int(self._options.get("port", 6379))

    async def _introduce(self, wire: Wire) -> None:
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
            await self._look_around()

    async def _look_around(self) -> None:
        """Called while there are connections, about once a second."""


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
