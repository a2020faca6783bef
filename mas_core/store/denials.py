"""What the server refused to its users, by its ACL LOG, told once each.

The log is the server's, which other systems may use too, so it is only read: what was told is remembered, and in
the store up to when, for whoever reads on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mas_core.errors import InternalError
from mas_core.store.connection import Connection
from mas_core.store.keys import Keys
from mas_core.store.stored import hash_of
from mas_core.store.wire import Failure

ENTRIES: Final = 128
"""Entries that are read at once: as many as a server keeps unless it is told otherwise."""

_MARGIN_S: Final = 0.005
"""How exactly the age of an entry is told."""
_HERE: Final = "server"
"""What a single server is called."""

What = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Denial:
    """One entry; the server puts equal ones of a minute together."""

    reason: str
    """command, key, channel or database; auth for a login that failed."""
    context: str
    """toplevel, multi, script, lua or module."""
    subject: str
    """The command, the key or the channel."""
    user: str
    address: str
    count: int

    @property
    def what(self) -> What:
        """What equal entries have in common."""
        return self.reason, self.context, self.subject, self.user


class DenialLog:
    """The ACL LOG of every server that takes writes, for one reader.

    Args:
        connection: To the servers.
        keys: Names of the system.
    """

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._counts: dict[str, dict[What, int]] = {}
        """Place -> how often each was refused, by what was read last."""
        self._read_to: dict[str, float] = {}
        """Place -> up to when it was read, in Unix seconds by its clock."""

    async def read(self) -> list[Denial]:
        """What has come since this was called last, by whoever read and noted it (`note_read`).

        Raises:
            InternalError: We may not read it.
            StoreUnreachable: A server does not answer.
        """
        new: list[Denial] = []
        found = await self._connection.run_all_everywhere([("TIME",), ("ACL", "LOG", ENTRIES)])
        for place, (time, entries) in found.items():
            if isinstance(entries, Failure) or isinstance(time, Failure):
                raise InternalError(f"the server does not show what it refuses: {entries}")
            now = int(time[0]) + int(time[1]) / 1e6
            if place not in self._read_to:
                self._read_to[place] = await self._noted(place, now)
            read_to, counts = self._read_to[place], self._counts.get(place, {})
            self._read_to[place], self._counts[place] = now, {}
            for fields in map(hash_of, entries or ()):
                denial = _denial(fields)
                known = counts.get(denial.what, 0)
                # The newest of a kind comes first, and is the one that still grows.
                self._counts[place].setdefault(denial.what, denial.count)
                after = now - float(fields.get("age-seconds", 0)) - read_to
                if after > _MARGIN_S or (after > -_MARGIN_S and denial.count != known):
                    more = denial.count - known if denial.count > known else denial.count
                    new.append(replace(denial, count=more))
        return new

    async def note_read(self) -> None:
        """What was read has been recorded: nobody is told of it again."""
        for place, read_to in self._read_to.items():
            noted = str(int(read_to * 1000))
            await self._connection.call("HSET", self._keys.denials_read(), place or _HERE, noted)

    async def _noted(self, place: str, now: float) -> float:
        """Up to when somebody has read; a system that is new begins with now."""
        noted = await self._connection.call("HGET", self._keys.denials_read(), place or _HERE)
        if noted is not None and noted.isdigit():
            return min(now, int(noted) / 1000)
        await self._connection.call("HSET", self._keys.denials_read(), place or _HERE, str(int(now * 1000)))
        return now


def _denial(fields: Mapping[str, Any]) -> Denial:
    def text(name: str) -> str:
        value = fields.get(name, b"")
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    client = dict(part.partition("=")[::2] for part in text("client-info").split(" "))
    count = fields.get("count", 1)
    return Denial(
        text("reason"),
        text("context"),
        text("object"),
        text("username"),
        client.get("addr", ""),
        count if isinstance(count, int) else 1,
    )
