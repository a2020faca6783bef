"""A connection to a Redis or Valkey server: scripts, time, and errors in our own words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

import redis.asyncio as redis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mas_core.errors import ConfigurationError, InternalError, LockHeld, StoreFull, StoreUnreachable

Argument = str | bytes | int

_SCRIPTS: Final = {
    "commit": ("settle_function", "commit"),
    "settle": ("settle_function", "settle"),
    "acquire": ("acquire",),
    "renew": ("renew",),
    "claim": ("claim",),
    "start": ("start",),
    "reserve": ("reserve",),
    "set_state": ("set_state",),
    "set_policy": ("set_policy",),
}

_memory_servers: dict[str, Any] = {}


def script_text(name: str) -> str:
    """The source of one server-side script."""
    folder = files("mas_core.store") / "scripts"
    return "\n".join((folder / f"{part}.lua").read_text() for part in _SCRIPTS[name])


def safe_url(url: str) -> str:
    """`url` without its password, for messages and logs."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if "@" in netloc:
        user, _, host = netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}:***@{host}"
    query = "&".join(
        "password=***" if item.startswith("password=") else item for item in parts.query.split("&") if item
    )
    shown = urlunsplit(("", netloc, parts.path, query, ""))
    return f"{parts.scheme}:{shown if shown.startswith('//') else '//' + shown}"


class Connection:
    """Runs commands and scripts on one server; a fake one for `memory://` URLs.

    Args:
        url: redis://, rediss://, unix:// or memory://NAME; equal memory URLs share one store in the process.
        timeout: Seconds to wait for a connection or an answer beyond what a command itself may block.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self.url = url
        self.is_memory = url.startswith("memory:")
        self.client = _memory_client(url) if self.is_memory else _client(url, timeout)
        self._scripts = {name: self.client.register_script(script_text(name)) for name in _SCRIPTS}

    async def call(self, *command: Argument) -> Any:
        """Run one command and return its reply.

        Raises:
            StoreUnreachable: The server does not answer.
            StoreFull: It is out of memory.
        """
        with self.translated(), _cancellation_kept():
            return await self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def script(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a server-side script; errors as for `call`."""
        with self.translated(), _cancellation_kept():
            return await self._scripts[name](keys=list(keys), args=list(arguments))

    def add_script(
        self, pipeline: Pipeline, name: str, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> None:
        """Queue a server-side script in a pipeline."""
        pipeline.scripts.add(name)
        pipeline.commands.append(("EVALSHA", self._scripts[name].sha, len(keys), *keys, *arguments))

    async def run(self, pipeline: Pipeline) -> list[Any]:
        """Send all queued commands in one round trip, without a transaction; replies in order.

        Raises:
            StoreUnreachable: The server does not answer.
            StoreFull: It is out of memory.
        """
        with self.translated(), _cancellation_kept():
            try:
                return await self._send(pipeline)
            except exceptions.NoScriptError:
                for name in pipeline.scripts:
                    await self.client.script_load(script_text(name))
                return await self._send(pipeline)

    async def _send(self, pipeline: Pipeline) -> list[Any]:
        async with self.client.pipeline(transaction=False) as batch:
            for command in pipeline.commands:
                batch.execute_command(*command)
            return await batch.execute()

    async def time_ms(self) -> int:
        """The server's clock in Unix milliseconds."""
        seconds, microseconds = await self.call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def server_facts(self) -> dict[str, str]:
        """What the server says of itself (INFO), and `append_only`: always, everysec, no, off or unknown."""
        if self.is_memory:
            return {"redis_version": "memory", "append_only": "memory"}
        info = await self.call("INFO")
        facts = {str(name): str(value) for name, value in info.items()}
        facts["append_only"] = "off"
        if facts.get("aof_enabled") == "1":
            try:
                reply = await self.call("CONFIG", "GET", "appendfsync")
            except InternalError:
                reply = {}
            if isinstance(reply, list):
                reply = dict(zip(reply[::2], reply[1::2], strict=True))
            values = {_text(name): _text(value) for name, value in reply.items()}
            facts["append_only"] = values.get("appendfsync", "unknown")
        return facts

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn redis-py's errors into ours."""
        try:
            yield
        except exceptions.OutOfMemoryError as error:
            raise StoreFull from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
            # While it connects, redis-py wraps a refused password into a lost connection.
            if isinstance(error, exceptions.AuthenticationError) or isinstance(
                error.__cause__, exceptions.AuthenticationError
            ):
                raise ConfigurationError(
                    f"the server at {safe_url(self.url)} does not accept this user or password",
                    hint="check the URL: redis://USER:PASSWORD@HOST:PORT",
                ) from error
            raise StoreUnreachable(
                f"the server at {safe_url(self.url)} cannot be reached: {_reason(error)}",
                hint="mas up",
                url=safe_url(self.url),
            ) from error
        except exceptions.ReadOnlyError as error:
            raise StoreUnreachable(f"the server at {safe_url(self.url)} is a read-only replica") from error
        except exceptions.ResponseError as error:
            if str(error).startswith("BUSYGROUP"):
                raise LockHeld("the group exists already") from error
            if str(error).startswith(("MISCONF", "LOADING", "BUSY ", "MASTERDOWN", "NOREPLICAS")):
                raise StoreUnreachable(
                    f"the server at {safe_url(self.url)} takes no commands: {error}"
                ) from error
            raise InternalError(f"the server refused a command: {error}") from error


class Pipeline:
    """Commands to be sent in one round trip."""

    __slots__ = ("commands", "scripts")

    def __init__(self) -> None:
        self.commands: list[tuple[Argument, ...]] = []
        self.scripts: set[str] = set()

    def add(self, *command: Argument) -> None:
        """Queue one command."""
        self.commands.append(command)


@contextmanager
def _cancellation_kept() -> Iterator[None]:
    """Raise a cancellation that redis-py took for its own: it swallows one that comes while it connects."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]


def _client(url: str, timeout: float) -> redis.Redis:
    try:
        return redis.Redis.from_url(
            url,
            protocol=2,
            decode_responses=False,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
        )
    except ValueError as error:
        raise ConfigurationError(
            f"{safe_url(url)!r} is not the URL of a server",
            hint="URLs look like redis://host:6379/0, rediss://..., unix:///path/to/socket or memory://",
        ) from error


def _memory_client(url: str) -> redis.Redis:
    import fakeredis  # noqa: PLC0415 - only for memory://, and slow to import

    server = _memory_servers.setdefault(url, fakeredis.FakeServer())
    return cast("redis.Redis", fakeredis.FakeAsyncRedis(server=server, protocol=2))


def forget_memory(url: str) -> None:
    """Drop what a `memory://` URL holds in this process."""
    _memory_servers.pop(url, None)
