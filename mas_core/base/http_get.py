"""Answers GET over HTTP/1.1 (RFC 9112), for probes and scrapers; everything that a caller says is bounded.

One request a connection, 8 KiB of it, 5 seconds for it, 32 connections; bodies are not read, and nothing that
was sent is ever sent back. While it listens on a loopback address it answers only to names of this machine, so
that no page in a browser can ask it through a name of its own (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of

log = get_logger(__name__)

MAX_REQUEST_BYTES = 8192
REQUEST_SECONDS = 5.0
MAX_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json"


Route = Callable[[], Awaitable[Answer]]


class HttpGet:
    """A server of a few fixed paths; use it as an async context manager.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        routes: Path -> what answers it.

    Raises:
        OSError: When it is entered: the address cannot be had.
    """

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        self._host = host
        self.port = port
        """Where it listens, once it does."""
        self._routes = dict(routes)
        self._only_local = _is_local(host)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, self.port, limit=MAX_REQUEST_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._server is not None:
            self._server.close()
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                text = await reader.readuntil(b"\r\n\r\n")
            answer, is_head = await self._answer(text)
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(_encoded(answer, is_head=is_head))
                await writer.drain()
        except asyncio.LimitOverrunError:
            writer.write(_encoded(_problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), is_head=False))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(REQUEST_SECONDS):
                    await writer.wait_closed()

    async def _answer(self, text: bytes) -> tuple[Answer, bool]:
        """The answer to a request, and whether only its head is wanted."""
        first, *lines = text.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _problem(HTTPStatus.BAD_REQUEST), False
        method, target, _ = words
        is_head = method == "HEAD"
        if method not in {"GET", "HEAD"}:
            return _problem(HTTPStatus.METHOD_NOT_ALLOWED), False
        hosts = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("host:")]
        if self._only_local and not all(_is_local(_without_port(host)) for host in hosts):
            return _problem(HTTPStatus.FORBIDDEN), is_head
        route = self._routes.get(target.partition("?")[0])
        if route is None:
            return _problem(HTTPStatus.NOT_FOUND), is_head
        try:
            return await route(), is_head
        except Exception as error:  # noqa: BLE001 - a failing route is an answer, and no caller sees why
            log.error("http.failed", path=target[:100], trace=trace_of(error))
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR), is_head


def _encoded(answer: Answer, *, is_head: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if is_head else answer.body)


def _problem(status: HTTPStatus) -> Answer:
    return Answer(f"{status.value} {status.phrase}\n".encode(), status, "text/plain; charset=utf-8")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_local(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
