"""Users of the server: made, removed and kept on every node.

Users are not replicated, so each node is told by itself, replicas too: one of them may become the master.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mas_core.base.logs import get_logger
from mas_core.errors import InternalError
from mas_core.settings.server_logins import ServerLogin
from mas_core.store.connection import Connection
from mas_core.store.urls import read_store_url
from mas_core.store.wire import Argument, ConnectionLost, Failure, Wires

log = get_logger(__name__)

DEFAULT: Final = "default"
"""The user that everybody is who does not say otherwise."""
REPLICA_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Kept:
    """Which nodes keep their users."""

    nodes: int
    unreached: tuple[str, ...] = ()
    """Replicas that do not answer."""
    forgetful: tuple[str, ...] = ()
    """Nodes that forget their users when they end: they have neither an aclfile nor a configuration file."""


class UserAdmin:
    """Works on the users of all nodes, as a user who may.

    Args:
        connection: To the server or the group of servers.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = dict(read_store_url(connection.url).options)

    async def names(self) -> list[str]:
        """The users of the server, sorted."""
        return sorted(name.decode(errors="replace") for name in await self._connection.call("ACL", "USERS"))

    async def me(self) -> str:
        """As whom we are there."""
        return str((await self._connection.call("ACL", "WHOAMI")).decode())

    async def put(self, login: ServerLogin, rules: Sequence[str]) -> None:
        """Make a user, or give it this password and these rules in place of its own.

        The password goes over the wire as its SHA-256 alone, so neither a log nor MONITOR has it.

        Raises:
            InternalError: The server refuses: we may not, or it does not know a command of the rules.
        """
        digest = hashlib.sha256(login.password.encode()).hexdigest()
        await self._tell("ACL", "SETUSER", login.user, "reset", "on", f"#{digest}", *rules)

    async def remove(self, user: str) -> None:
        """Remove a user; its connections end at once."""
        await self._tell("ACL", "DELUSER", user)

    async def set_default(self, *, on: bool) -> None:
        """Let the default user in, or nobody as it any more; connections that are open stay."""
        await self._tell("ACL", "SETUSER", DEFAULT, "on" if on else "off")

    async def close_connections(self, user: str) -> None:
        """End the connections of a user; it may come again."""
        await self._tell("CLIENT", "KILL", "USER", user)

    async def connections_as(self, user: str) -> int:
        """How many others are connected as a user."""
        mark = f" user={user} ".encode()
        replies = await self._connection.run_everywhere("CLIENT", "LIST")
        mine = len(replies) if await self.me() == user else 0
        lists = [reply for reply in replies.values() if isinstance(reply, bytes)]
        return max(0, sum(reply.count(mark) for reply in lists) - mine)

    async def keep(self) -> Kept:
        """Have every node keep its users over a restart, as far as it can."""
        replies, unreached = await self._everywhere("ACL", "SAVE")
        refused = [place for place, reply in replies.items() if isinstance(reply, Failure)]
        forgetful: list[str] = []
        if refused:
            again, _ = await self._everywhere("CONFIG", "REWRITE")
            forgetful = [place for place in refused if isinstance(again.get(place), Failure)]
        return Kept(len(replies), unreached, tuple(forgetful))

    async def _tell(self, *command: Argument) -> None:
        """Run a command on every node; what a replica that is away missed, it is told the next time.

        Raises:
            InternalError: A node refused it.
        """
        replies, unreached = await self._everywhere(*command)
        for place in unreached:
            log.warning("replica.unreached", place=place, command=command[0])
        for place, reply in replies.items():
            if isinstance(reply, Failure):
                where = f" at {place}" if place else ""
                what = " ".join(map(str, command[:3]))
                raise InternalError(f"the server{where} refused {what}: {reply}")

    async def _everywhere(self, *command: Argument) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Replies by place, and the replicas that did not answer."""
        replies = await self._connection.run_everywhere(*command)
        replicas = await self._replicas()
        answers = await asyncio.gather(*(self._ask(place, command) for place in replicas))
        unreached = tuple(
            place for place, reply in zip(replicas, answers, strict=True) if isinstance(reply, ConnectionLost)
        )
        reached = {
            place: reply
            for place, reply in zip(replicas, answers, strict=True)
            if not isinstance(reply, ConnectionLost)
        }
        return {**replies, **reached}, unreached

    async def _replicas(self) -> list[str]:
        """Replicas as the masters know them."""
        found = []
        for role in (await self._connection.run_everywhere("ROLE")).values():
            if isinstance(role, list) and role and role[0] == b"master":
                found += [f"{host.decode()}:{port.decode()}" for host, port, *_ in role[2]]
        return sorted(set(found))

    async def _ask(self, place: str, command: tuple[Argument, ...]) -> Any:
        host, _, port = place.rpartition(":")
        wires = Wires({**self._options, "host": host, "port": int(port), "path": None}, REPLICA_TIMEOUT_S)
        try:
            (reply,) = await wires.execute([command])
        except Failure as failure:
            return failure
        finally:
            await wires.close()
        return reply
