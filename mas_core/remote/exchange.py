"""One conversation with a server: numbered calls out, answers in, and a new connection where the last one broke."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import Final

import grpc
import grpc.aio

from mas_core.base.backoff import exponential_delays
from mas_core.base.logs import get_logger
from mas_core.errors import CertificateRefused, MasError, StoreUnreachable, Unauthenticated
from mas_core.protocol.faults import error_of
from mas_core.protocol.frames_pb2 import Answer, Call, Cancel, Error, Hello

log = get_logger(__name__)

METHOD: Final = "/mas.v1.Frames/Exchange"
ERROR_METADATA: Final = "mas-error-bin"
"""The trailing metadata that says why a server ended the conversation: an Error."""
CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 10.0
"""How long an answer may take beyond what its call may wait for."""
RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 2.0
"""How long a failed connection counts for everybody, at first and at most."""
MAX_REFUSED_RETRY_S: Final = 10.0
"""The most where there is a server, but it does not take this agent; each attempt leaves a record there."""
CLOSED: Final = "Socket closed"
"""What gRPC says of a connection that the other side has ended."""
CREDENTIALS_LOOK_S: Final = 1.0
"""How often the files with the certificate are looked at."""
MAX_ANSWER_BYTES: Final = 64 << 20

CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # Each agent has its own identity, so its connection is its own.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)

Credentials = Callable[[], tuple[bytes, bytes, bytes]]
"""Gives what the files hold now: certificate chain, private key, authorities, each as PEM."""


class Exchange:
    """Makes calls to one server as one agent.

    Args:
        address: host:port of the server.
        credentials: Proves who calls; asked again for each connection, and every second in between: where it gives
            something new, the conversation moves to a new connection and nothing is lost.
        bearer: Gives a bearer token where a proxy ends TLS; the certificate counts otherwise.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials,
        bearer: Callable[[], str] | None = None,
    ) -> None:
        self.address = address
        self._credentials = credentials
        self._bearer = bearer
        self._line: _Line | None = None
        self._leaving: set[_Line] = set()
        self._connecting = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self.layout = 1
        """Number of the layout in force, as the last answer told it."""
        self.partitions = 1
        """Number of partitions of that layout."""
        self._calls = 0
        self._failure: MasError | None = None
        self._retry_at = 0.0
        self._forget_failures()
        self._was_connected = False
        self._is_reached = False
        """Whether there was a server when the last attempt to connect failed."""

    def _forget_failures(self) -> None:
        self._failure = None
        self._delays = exponential_delays(RETRY_S, MAX_RETRY_S)
        self._refused_delays = exponential_delays(RETRY_S, MAX_REFUSED_RETRY_S)

    async def call(self, call: Call, wait_ms: int = 0) -> Answer:
        """Make a call.

        Args:
            call: What is asked; its id is set here.
            wait_ms: How long the server may wait before it answers.

        Raises:
            StoreUnreachable: It is unknown whether it was carried out.
            Unauthenticated, Forbidden: The server does not take this agent.
            MasError: What the server says of this call.
        """
        line = self._line if self._line is not None and self._line.is_open else await self._connected()
        self._calls += 1
        call.id = self._calls
        answer = await line.call(call, ANSWER_TIMEOUT_S + wait_ms / 1000)
        self._take_layout(answer)
        if answer.HasField("error"):
            raise error_of(answer.error)
        return answer

    def _take_layout(self, answer: Answer) -> None:
        # Answers may come in another order than they were made.
        if answer.layout >= self.layout:
            self.layout, self.partitions = answer.layout, answer.partitions

    async def close(self) -> None:
        """End the conversation."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        lines = [*self._leaving, *([self._line] if self._line is not None else [])]
        self._line = None
        await asyncio.gather(*(line.close() for line in lines))

    async def _connected(self) -> _Line:
        async with self._connecting:
            line = self._line
            if line is None or not line.is_open:
                if line is not None:
                    await line.close()
                line = self._line = await self._connect_patiently()
            if self._watching is None:
                self._watching = asyncio.create_task(self._watch_credentials())
            return line

    async def _connect_patiently(self) -> _Line:
        """Connect, but not again right after that failed: all who call share one failure for a while."""
        if self._failure is not None and time.monotonic() < self._retry_at:
            raise self._failure.with_traceback(None)
        try:
            line = await self._connect()
        except MasError as error:
            delays = self._refused_delays if self._is_reached else self._delays
            self._failure, self._retry_at = error, time.monotonic() + next(delays)
            raise
        self._forget_failures()
        self._was_connected = True
        return line

    async def _connect(self) -> _Line:
        self._is_reached = False
        line = _Line(self.address, self._usable_credentials(), self._shown_bearer())
        try:
            self._take_layout(await line.call(Call(hello=Hello()), CONNECT_TIMEOUT_S))
        except BaseException:
            self._is_reached = line.is_reached
            await line.close()
            raise
        return line

    def _usable_credentials(self) -> tuple[bytes, bytes, bytes]:
        try:
            return self._credentials()
        except CertificateRefused as error:
            if not self._was_connected:
                raise
            # An agent that runs goes on as soon as its files hold a new certificate.
            raise StoreUnreachable(
                f"the server {self.address} cannot be asked: {error.message}", hint=error.hint
            ) from None

    def _shown_bearer(self) -> str:
        return self._bearer() if self._bearer is not None else ""

    async def _watch_credentials(self) -> None:
        """Move to a new connection as soon as the files hold another certificate."""
        while True:
            await asyncio.sleep(CREDENTIALS_LOOK_S)
            line = self._line
            if line is None or not line.is_open:
                continue
            try:
                if (self._credentials(), self._shown_bearer()) == (line.credentials, line.bearer):
                    continue
                async with self._connecting:
                    newer = await self._connect()
                    older, self._line = self._line, newer
            except MasError as error:
                # The old connection goes on until its certificate ends; the files may be half-written.
                log.warning("certificate.unusable", server=self.address, reason=error.message)
                continue
            log.info("certificate.renewed", server=self.address)
            if older is not None:
                self._leaving.add(older)
                await older.leave()
                self._leaving.discard(older)


class _Line:
    """One connection, with one stream of calls."""

    def __init__(self, address: str, credentials: tuple[bytes, bytes, bytes], bearer: str) -> None:
        self.credentials = credentials
        self.bearer = bearer
        self._address = address
        chain, key, authorities = credentials
        self._channel = grpc.aio.secure_channel(
            address,
            grpc.ssl_channel_credentials(authorities or None, key or None, chain or None),
            options=CHANNEL_OPTIONS,
        )
        metadata = (("authorization", f"Bearer {bearer}"),) if bearer else ()
        method = self._channel.stream_stream(
            METHOD, request_serializer=Call.SerializeToString, response_deserializer=Answer.FromString
        )
        self._stream = method(metadata=metadata)
        self._outgoing: asyncio.Queue[Call] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._end: MasError | None = None
        self.is_reached = False
        """Whether there is a server, whatever it says."""
        self._idle = asyncio.Event()
        # Reading and writing have tasks of their own: to cancel either in gRPC is to cancel the stream.
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._end is None

    async def call(self, call: Call, timeout: float) -> Answer:
        """Make a call; raises as `Exchange.call` does, except for what the answer says."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._end is not None:
            raise self._end
        self._waiting[call.id] = answer
        try:
            async with asyncio.timeout(timeout):
                self._outgoing.put_nowait(call)
                return await answer
        except asyncio.CancelledError:
            self._outgoing.put_nowait(Call(id=call.id, cancel=Cancel(call=call.id)))
            raise
        except TimeoutError:
            self._lose(self._unreachable(f"no answer within {timeout:g} s"))
            raise self._end or StoreUnreachable from None
        finally:
            self._waiting.pop(call.id, None)
            if not self._waiting:
                self._idle.set()

    async def leave(self) -> None:
        """Close once every call that was made is answered."""
        while self._waiting and self.is_open:
            self._idle.clear()
            await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Close at once."""
        self._lose(self._unreachable("the connection was closed"))
        self._stream.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _write(self) -> None:
        # Where that fails, the reader learns why, and tells all who wait.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            # What is written to a server that has just refused us makes gRPC forget the reason that it gave.
            await self._stream.wait_for_connection()
            self.is_reached = True
            while True:
                await self._stream.write(await self._outgoing.get())

    async def _read(self) -> None:
        try:
            while True:
                answer = await self._stream.read()
                if not isinstance(answer, Answer):
                    self._lose(await self._reason())
                    return
                waiting = self._waiting.get(answer.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except grpc.aio.AioRpcError:
            self._lose(await self._reason())

    async def _reason(self) -> MasError:
        """Why the server ended the conversation."""
        for name, value in await self._stream.trailing_metadata() or ():
            if name == ERROR_METADATA and isinstance(value, bytes):
                return error_of(Error.FromString(value))
        code, details = await self._stream.code(), await self._stream.details()
        if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
            return Unauthenticated(f"Authentication failed: {details}")
        # With TLS 1.3 a server looks at the certificate once the connection stands, so that is all one sees.
        self.is_reached = self.is_reached or CLOSED in (details or "")
        return self._unreachable(details or str(code))

    def _unreachable(self, reason: str) -> StoreUnreachable:
        return StoreUnreachable(
            f"the server {self._address} does not answer: {reason}",
            hint=("check its address, and that `mas server run` runs there", "mas cert inspect FILE"),
        )

    def _lose(self, reason: MasError) -> None:
        if self._end is None:
            self._end = reason
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._end)
                # Whoever waited may have been cancelled meanwhile; then nobody asks.
                answer.exception()
        self._idle.set()


# gRPC writes what it thinks of every connection to standard error unless it is told not to.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
