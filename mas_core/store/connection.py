"""A connection to a Redis or Valkey server: scripts, time, and errors in our own words."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from mas_core.errors import (
    ConfigurationError,
    InternalError,
    LockHeld,
    MasError,
    ReplicasBehind,
    StoreForbidden,
    StoreFull,
    StoreUnreachable,
    Unauthenticated,
)
from mas_core.store.topology import wires_of
from mas_core.store.urls import safe_url
from mas_core.store.wire import Argument, Command, ConnectionLost, Failure, ServerError, Wires

if TYPE_CHECKING:
    from mas_core.store.cluster import ClusterWires

_SCRIPTS: Final = {
    "commit": (
        "note_change_function",
        "settle_function",
        "trim_log_function",
        "append_log_function",
        "commit",
    ),
    "trim_log": ("trim_log_function", "trim_log"),
    "look_at_log": ("look_at_log",),
    "look_at_group": ("look_at_group",),
    "take_over_log": ("take_over_log",),
    "leave_log": ("leave_log",),
    "settle": ("settle_function", "settle"),
    "acquire": ("acquire",),
    "renew": ("renew",),
    "claim": ("claim",),
    "start": ("start",),
    "unstart": ("unstart",),
    "read_delivery": ("read_delivery",),
    "look_at_streams": ("look_at_streams",),
    "read_in_hand": ("read_in_hand",),
    "read_waiting": ("read_waiting",),
    "take_waiting": ("take_waiting",),
    "order_trim": ("order_trim",),
    "release": ("release",),
    "reserve": ("limit_windows", "reserve"),
    "give_back": ("limit_windows", "give_back"),
    "limit_use": ("limit_windows", "limit_use"),
    "set_state": ("set_state",),
    "set_policy": ("set_policy",),
    "note_change": ("note_change_function", "note_change"),
    "read_changes": ("read_changes",),
    "decide": ("decide",),
    "due": ("due",),
    "order_letter": ("order_letter",),
    "read_letters": ("read_letters",),
    "hold": ("hold",),
    "cover": ("cover",),
    "keep_replies": ("keep_replies",),
    "read_later": ("read_later",),
    "restore_letters": ("restore_letters",),
    "restore_later": ("restore_later",),
    "restore_state": ("restore_state",),
    "restore_position": ("restore_position",),
    "close_partition": ("close_partition",),
    "move_out": ("move_out",),
}


@cache
def script_text(name: str) -> str:
    """The source of one server-side script."""
    folder = files("mas_core.store") / "scripts"
    return "\n".join((folder / f"{part}.lua").read_text() for part in _SCRIPTS[name])


LOADED_BY_OTHERS_S: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0)
"""How long somebody who may not load a script waits before each look whether a gateway has."""
REPLICA_TIMEOUT_MS: Final = 1000
"""How long one wait for replicas may take."""


class Connection:
    """Runs commands and scripts on a server or a group of servers; on a fake one for `memory://` URLs.

    Args:
        url: redis://, rediss://, unix://, redis+cluster://, redis+sentinel:// or memory://NAME; equal memory URLs
            share one store in the process.
        timeout: Seconds to wait for a connection or an answer beyond what a command itself may block.
        replicas: Replicas that must have what may not be lost (`run_covered`); 0 outside the `ha` profile.

    Raises:
        ConfigurationError: The URL cannot be read.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, replicas: int = 0) -> None:
        self.url = url
        self.is_memory = url.startswith("memory:")
        self.replicas = replicas
        self.loads_scripts = True
        """Whether we load scripts that the server does not know; else a gateway does, and we wait for it."""
        self._wires = wires_of(url, timeout, self._use)
        self._hashes: dict[str, str] = {}

    def _use(self, wires: Wires | ClusterWires) -> None:
        self._wires = wires

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
        pipeline.scripts[len(pipeline.commands)] = name
        pipeline.commands.append(("EVALSHA", self._sha(name), len(keys), *keys, *arguments))

    def _sha(self, name: str) -> str:
        sha = self._hashes.get(name)
        if sha is None:
            # Not for security: it is the name under which the server keeps the script.
            sha = self._hashes[name] = hashlib.sha1(script_text(name).encode()).hexdigest()  # noqa: S324
        return sha

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
        return [self._meaning(reply) if isinstance(reply, Failure) else None for reply in replies]

    async def run_covered(self, pipeline: Pipeline) -> tuple[list[Any], bool]:
        """Send all queued commands, and wait until enough replicas have what they wrote.

        Returns:
            The replies, and whether enough have it within the time; always where none have to.

        Raises:
            StoreUnreachable, StoreFull: As for `run`.
        """
        if not self.replicas:
            return await self._run(pipeline, self._wires.execute), True
        reached: list[int] = []

        async def execute(commands: Sequence[Command]) -> list[Any]:
            replies, count = await self._wires.execute_covered(commands, self.replicas, REPLICA_TIMEOUT_MS)
            reached.append(count)
            return replies

        return await self._run(pipeline, execute), min(reached) >= self.replicas

    async def run_safely(self, pipeline: Pipeline) -> list[Any]:
        """Send all queued commands; when this returns, what they wrote survives what the profile survives.

        Raises:
            ReplicasBehind: They were carried out, and may still be lost.
            StoreUnreachable, StoreFull: As for `run`.
        """
        replies, is_covered = await self.run_covered(pipeline)
        if not is_covered:
            raise ReplicasBehind(hint=("mas status", "do it again"))
        return replies

    async def _run(
        self, pipeline: Pipeline, execute: Callable[[Sequence[Command]], Awaitable[list[Any]]]
    ) -> list[Any]:
        if not pipeline.commands:
            # Nothing is sent, so no reply would ever come.
            return []
        with self._translated():
            replies = await execute(pipeline.commands)
            for pause in (0.0,) if self.loads_scripts else LOADED_BY_OTHERS_S:
                unknown = [index for index in pipeline.scripts if _is_unknown_script(replies[index])]
                if not unknown:
                    break
                if self.loads_scripts:
                    await self._load({pipeline.scripts[index] for index in unknown})
                else:
                    await asyncio.sleep(pause)
                again = await execute([pipeline.commands[index] for index in unknown])
                for index, reply in zip(unknown, again, strict=True):
                    replies[index] = reply
            return [_value(reply) for reply in replies]

    async def _load(self, names: Iterable[str]) -> None:
        for reply in await self._wires.execute([("SCRIPT", "LOAD", script_text(name)) for name in names]):
            _value(reply)

    async def keep_scripts(self, names: Sequence[str]) -> None:
        """Load those of these scripts that a server has not, on every one that takes writes.

        Raises:
            InternalError: We may not.
            StoreUnreachable: A server does not answer.
        """
        shas = [self._sha(name) for name in names]
        found = await self.run_everywhere("SCRIPT", "EXISTS", *shas)
        with self._translated():
            known = [all(flags) for flags in zip(*map(_value, found.values()), strict=True)]
            if not all(known):
                await self._load([name for name, is_known in zip(names, known, strict=True) if not is_known])

    async def run_everywhere(self, *command: Argument) -> dict[str, Any]:
        """Run one command on every server that takes writes; what each gives, an error where it does not take it.

        Raises:
            StoreUnreachable: One of them does not answer.
        """
        replies = await self.run_all_everywhere([command])
        return {place: found[0] for place, found in replies.items()}

    async def run_all_everywhere(self, commands: Sequence[Command]) -> dict[str, list[Any]]:
        """Run commands in one go on every server that takes writes; replies as of `run_everywhere`."""
        with self._translated():
            return await self._wires.execute_everywhere(commands)

    async def scan(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        """Keys that match, a page at a time, of every server; some may come twice.

        Args:
            pattern: As of SCAN.
            count: How many keys a page looks at, about.

        Raises:
            StoreUnreachable: One of the servers does not answer.
        """
        firsts = await self.run_everywhere("SCAN", 0, "MATCH", pattern, "COUNT", count)
        for place, first in firsts.items():
            with self._translated():
                cursor, keys = _value(first)
            yield keys
            while int(cursor):
                with self._translated():
                    command: Command = ("SCAN", cursor, "MATCH", pattern, "COUNT", count)
                    cursor, keys = _value((await self._wires.execute_at(place, [command]))[0])
                yield keys

    async def time_ms(self) -> int:
        """The server's clock in Unix milliseconds."""
        seconds, microseconds = await self.call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def close(self) -> None:
        """Close all connections."""
        await self._wires.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the wire and the server say into our errors."""
        try:
            yield
        except Failure as error:
            raise self._meaning(error) from error

    def _meaning(self, failure: Failure) -> MasError:
        url = safe_url(self.url)
        if isinstance(failure, ConnectionLost):
            return StoreUnreachable(
                f"the server at {url} cannot be reached: {_first_line(failure)}", hint="mas up", url=url
            )
        if str(failure).startswith("READONLY"):
            # It was demoted, and says so only to those who write: what is called next asks who took over.
            self._wires.drop()
        if not self.loads_scripts and _is_login_refused(failure):
            # An agent's own user: it was removed, or has another password.
            return Unauthenticated(
                f"Authentication failed: the server at {url} does not let the agent's own user in",
                hint=("mas agent provision AGENT --rotate", "mas redis-users list"),
            )
        return _meaning(failure, url)


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


def _value(reply: Any) -> Any:
    if isinstance(reply, Failure):
        raise reply
    return reply


def _is_unknown_script(reply: object) -> bool:
    return isinstance(reply, ServerError) and str(reply).startswith(("NOSCRIPT", "No matching script"))


_UNAVAILABLE: Final = frozenset({
    "LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "UNBLOCKED",
})  # fmt: skip
"""Codes of refusals that end when the server, or the group, is well again."""


def _meaning(error: Failure, url: str) -> MasError:
    text = _first_line(error)
    code = text.partition(" ")[0]
    if code == "OOM" or "OOM command not allowed" in text:
        return StoreFull()
    if code == "MISCONF":
        return StoreFull(f"the server at {url} cannot write to its disk: {text}")
    if _is_login_refused(error):
        return ConfigurationError(
            f"the server at {url} does not accept this user or password",
            hint="check the URL: redis://USER:PASSWORD@HOST:PORT",
        )
    if code == "READONLY":
        return StoreUnreachable(f"the server at {url} is a read-only replica")
    if "cluster support disabled" in text:
        return ConfigurationError(
            f"the server at {url} is no node of a Cluster", hint="use the URL redis://HOST:PORT"
        )
    if code == "NOSCRIPT":
        return StoreUnreachable(
            f"the server at {url} lacks scripts of the system, and no gateway loads them",
            hint="mas gateway status",
        )
    if code in _UNAVAILABLE or text.startswith("ERR max number of clients"):
        return StoreUnreachable(f"the server at {url} takes no commands: {text}")
    if code == "NOPERM" or "ACL failure in script" in text:
        return StoreForbidden(
            f"the user of the server may not do this: {text}",
            hint=("mas redis-users list", "mas agent provision AGENT", "mas redis-users apply"),
        )
    if code == "BUSYGROUP" or "BUSYGROUP" in text:
        return LockHeld("the group exists already")
    return InternalError(f"the server refused a command: {text}")


def _is_login_refused(error: Failure) -> bool:
    return str(error).startswith(("WRONGPASS", "NOAUTH", "ERR AUTH"))


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
