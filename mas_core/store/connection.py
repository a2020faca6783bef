"""A connection to a Redis or Valkey server: scripts, time, and errors in our own words."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from mas_core.errors import (
    ConfigurationError,
    InternalError,
    LockHeld,
    MasError,
    StoreFull,
    StoreUnreachable,
)
from mas_core.store.wire import Argument, Command, ConnectionLost, ServerError, Wires

if TYPE_CHECKING:
    from mas_core.store.memory import MemoryWires

_SCRIPTS: Final = {
    "commit": ("note_change_function", "settle_function", "commit"),
    "settle": ("settle_function", "settle"),
    "acquire": ("acquire",),
    "renew": ("renew",),
    "claim": ("claim",),
    "start": ("start",),
    "read_delivery": ("read_delivery",),
    "reserve": ("limit_windows", "reserve"),
    "give_back": ("limit_windows", "give_back"),
    "limit_use": ("limit_windows", "limit_use"),
    "set_state": ("set_state",),
    "set_policy": ("set_policy",),
    "note_change": ("note_change_function", "note_change"),
    "read_changes": ("read_changes",),
    "decide": ("decide",),
    "order_letter": ("order_letter",),
    "read_letters": ("read_letters",),
}


@cache
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

    Raises:
        ConfigurationError: The URL cannot be read.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self.url = url
        self.is_memory = url.startswith("memory:")
        self._wires = _wires(url, timeout)
        self._hashes: dict[str, str] = {}

    async def call(self, *command: Argument) -> Any:
        """Run one command and return its reply.

        Raises:
            StoreUnreachable: The server does not answer.
            StoreFull: It is out of memory.
        """
        with self._translated():
            (reply,) = await self._wires.execute([command])
            return _value(reply)

    async def wait(self, *command: Argument) -> Any:
        """Run one command that may wait in the server; errors as for `call`."""
        with self._translated():
            return _value(await self._wires.execute_blocking(command))

    async def script(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a server-side script; errors as for `call`."""
        pipeline = Pipeline()
        self.add_script(pipeline, name, keys, arguments)
        (reply,) = await self.run(pipeline)
        return reply

    def add_script(
        self, pipeline: Pipeline, name: str, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> None:
        """Queue a server-side script in a pipeline."""
        sha = self._hashes.get(name)
        if sha is None:
            # Not for security: it is the name under which the server keeps the script.
            sha = self._hashes[name] = hashlib.sha1(script_text(name).encode()).hexdigest()  # noqa: S324
        pipeline.scripts[len(pipeline.commands)] = name
        pipeline.commands.append(("EVALSHA", sha, len(keys), *keys, *arguments))

    async def run(self, pipeline: Pipeline) -> list[Any]:
        """Send all queued commands in one round trip, without a transaction; replies in order.

        Raises:
            StoreUnreachable: The server does not answer.
            StoreFull: It is out of memory.
        """
        return await self._run(pipeline, self._wires.execute)

    async def run_each(self, pipeline: Pipeline) -> list[MasError | None]:
        """Send all queued commands in one round trip; for each why the server did not carry it out.

        Raises:
            StoreUnreachable: It is unknown which were carried out.
        """
        with self._translated():
            replies = await self._wires.execute(pipeline.commands)
        url = safe_url(self.url)
        return [_meaning(reply, url) if isinstance(reply, ServerError) else None for reply in replies]

    async def run_apart(self, pipeline: Pipeline) -> list[Any]:
        """Send all queued commands over a connection of their own; errors as for `run`."""
        return await self._run(pipeline, self._wires.execute_apart)

    async def _run(
        self, pipeline: Pipeline, execute: Callable[[Sequence[Command]], Awaitable[list[Any]]]
    ) -> list[Any]:
        with self._translated():
            replies = await execute(pipeline.commands)
            unknown = [index for index in pipeline.scripts if _is_unknown_script(replies[index])]
            if unknown:
                names = {pipeline.scripts[index] for index in unknown}
                await self._wires.execute([("SCRIPT", "LOAD", script_text(name)) for name in names])
                again = await execute([pipeline.commands[index] for index in unknown])
                for index, reply in zip(unknown, again, strict=True):
                    replies[index] = reply
            return [_value(reply) for reply in replies]

    async def time_ms(self) -> int:
        """The server's clock in Unix milliseconds."""
        seconds, microseconds = await self.call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def server_facts(self) -> dict[str, str]:
        """What the server says of itself (INFO), and `append_only`: always, everysec, no, off or unknown."""
        if self.is_memory:
            return {"redis_version": "memory", "append_only": "memory"}
        lines = (await self.call("INFO")).decode(errors="replace").splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        facts["append_only"] = "off"
        if facts.get("aof_enabled") == "1":
            try:
                _, value = await self.call("CONFIG", "GET", "appendfsync")
                facts["append_only"] = value.decode()
            except (InternalError, ValueError):
                facts["append_only"] = "unknown"
        return facts

    async def close(self) -> None:
        """Close all connections."""
        await self._wires.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the wire and the server say into our errors."""
        try:
            yield
        except ConnectionLost as error:
            raise StoreUnreachable(
                f"the server at {safe_url(self.url)} cannot be reached: {_first_line(error)}",
                hint="mas up",
                url=safe_url(self.url),
            ) from error
        except ServerError as error:
            raise _meaning(error, safe_url(self.url)) from error


class Pipeline:
    """Commands to be sent in one round trip."""

    __slots__ = ("commands", "scripts")

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.scripts: dict[int, str] = {}
        """Place among the commands -> name of the script that is called there."""

    def add(self, *command: Argument) -> None:
        """Queue one command."""
        self.commands.append(command)


def _wires(url: str, timeout: float) -> Wires | MemoryWires:
    if url.startswith("memory:"):
        from mas_core.store.memory import MemoryWires  # noqa: PLC0415 - slow to import, and seldom needed

        return MemoryWires(url)
    try:
        return Wires(url, timeout)
    except ValueError as error:
        raise ConfigurationError(
            f"{safe_url(url)!r} is not the URL of a server",
            hint="URLs look like redis://host:6379/0, rediss://..., unix:///path/to/socket or memory://",
        ) from error


def _value(reply: Any) -> Any:
    if isinstance(reply, ServerError):
        raise reply
    return reply


def _is_unknown_script(reply: object) -> bool:
    return isinstance(reply, ServerError) and str(reply).startswith(("NOSCRIPT", "No matching script"))


def _meaning(error: ServerError, url: str) -> MasError:
    text = _first_line(error)
    code = text.partition(" ")[0]
    if code == "OOM" or "OOM command not allowed" in text:
        return StoreFull()
    if code in ("WRONGPASS", "NOAUTH") or text.startswith("ERR AUTH"):
        return ConfigurationError(
            f"the server at {url} does not accept this user or password",
            hint="check the URL: redis://USER:PASSWORD@HOST:PORT",
        )
    if code == "READONLY":
        return StoreUnreachable(f"the server at {url} is a read-only replica")
    if code in ("MISCONF", "LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN"):
        return StoreUnreachable(f"the server at {url} takes no commands: {text}")
    if code == "BUSYGROUP" or "BUSYGROUP" in text:
        return LockHeld("the group exists already")
    return InternalError(f"the server refused a command: {text}")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
