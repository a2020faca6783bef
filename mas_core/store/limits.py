"""Counts of messages in sliding windows, shared by all gateways: reserve, give back, look, reset.

A subject is an agent, or a `role:NAME` or `capability:NAME` whose members share a total. Its counts lie in its
own partition, a key for each window. Nothing is counted per message: a gateway reserves places for a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mas_core.base.ids import partition_of
from mas_core.model.policy import RateLimit
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.wire import Argument

SECOND, MINUTE, HOUR = "second", "minute", "hour"
WINDOW_LENGTHS_MS: Final = {SECOND: 1_000, MINUTE: 60_000, HOUR: 3_600_000}

MAX_ENTRIES: Final = 1_000
"""Entries that one window may have, about 25 bytes each.

A limit up to this number is counted by the millisecond. Of a larger one, places taken within the same
thousandth of the window share an entry and leave the window together, with the last of them.
"""


@dataclass(slots=True)
class Grant:
    """How much of a rate limit was reserved."""

    granted: int
    at: int
    """The time under which the places are counted, for giving them back."""
    retry_after_ms: int
    """Until one more place fits; 0 when one does, or when none ever will."""
    window: str
    """The window that is full: second, minute or hour; `unreadable` when the counts are not ours."""
    by_second: bool = True
    """Whether the places are counted in the window of a second too, which not every limit has."""


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How much of one window of a rate limit is used."""

    window: str
    limit: int
    used: int
    """-1 when the counts cannot be read, so that nothing is let through."""
    resets_in_ms: int
    """Until everything that is counted now has left the window."""


@lru_cache(maxsize=4096)
def windows_of(limit: RateLimit) -> tuple[tuple[str, int], ...]:
    """The windows of a limit and the most that each may hold."""
    windows = ((MINUTE, limit.per_minute), (HOUR, limit.per_hour))
    return ((SECOND, limit.burst), *windows) if limit.burst else windows


@lru_cache(maxsize=4096)
def _arguments(limit: RateLimit) -> tuple[Argument, ...]:
    windows = windows_of(limit)
    flat: list[Argument] = [len(windows)]
    for name, most in windows:
        length = WINDOW_LENGTHS_MS[name]
        flat += (length, most, 1 if most <= MAX_ENTRIES else length // MAX_ENTRIES)
    return tuple(flat)


class Reservation:
    """Places of several subjects, reserved in one go: a script call for each partition, whatever their number.

    Args:
        keys: The names of the keys.
        ahead_ms: For how long the places may be used. They are counted under the end of that time, so that no
            window ever holds more than its limit.
    """

    def __init__(self, keys: Keys, ahead_ms: int = 0) -> None:
        self._keys = keys
        self._ahead_ms = ahead_ms
        self._calls: dict[int, tuple[list[str], list[Argument], list[tuple[str, RateLimit]]]] = {}

    def add(self, subject: str, wanted: int, limit: RateLimit) -> None:
        """Ask for up to `wanted` places."""
        partition = partition_of(subject, self._keys.partitions)
        names, arguments, subjects = self._calls.setdefault(partition, ([], [], []))
        names += [self._keys.limit(partition, subject, window) for window, _ in windows_of(limit)]
        arguments.append(wanted)
        arguments += _arguments(limit)
        subjects.append((subject, limit))

    @property
    def is_wanted(self) -> bool:
        """Whether any places were asked for."""
        return bool(self._calls)

    def queue(self, connection: Connection, pipeline: Pipeline, script: str = "reserve") -> int:
        """Add the script calls to a pipeline; how many there are."""
        for names, arguments, _ in self._calls.values():
            before = [self._ahead_ms] if script == "reserve" else []
            connection.add_script(pipeline, script, names, before + arguments)
        return len(self._calls)

    def grants(self, replies: Sequence[Sequence[Any]]) -> dict[str, Grant]:
        """Subject -> what it was granted, from the replies to `queue`."""
        found: dict[str, Grant] = {}
        for (_, _, subjects), reply in zip(self._calls.values(), replies, strict=True):
            for (subject, limit), at in zip(subjects, range(0, len(reply), 4), strict=True):
                granted, time, wait, full = map(int, reply[at : at + 4])
                window = "" if full == 0 else "unreadable" if full < 0 else windows_of(limit)[full - 1][0]
                found[subject] = Grant(granted, time, max(0, wait), window, limit.burst > 0)
        return found

    def uses(self, replies: Sequence[Sequence[Any]]) -> dict[str, tuple[WindowUse, ...]]:
        """Subject -> use of each of its windows, from the replies to `queue` with the script `limit_use`."""
        found: dict[str, tuple[WindowUse, ...]] = {}
        for (_, _, subjects), reply in zip(self._calls.values(), replies, strict=True):
            numbers = map(int, reply)
            for subject, limit in subjects:
                found[subject] = tuple(
                    WindowUse(window, most, next(numbers), next(numbers))
                    for window, most in windows_of(limit)
                )
        return found


def queue_give_back(
    connection: Connection,
    pipeline: Pipeline,
    keys: Keys,
    subject: str,
    at: int,
    places: int,
    *,
    by_second: bool = True,
) -> None:
    """Add to a pipeline that places are given back which were reserved at `at` and not used.

    Without `by_second` they were reserved under a limit that has no window of a second, so giving them back
    there would free the places of others.
    """
    partition = partition_of(subject, keys.partitions)
    names = [
        keys.limit(partition, subject, window)
        for window in WINDOW_LENGTHS_MS
        if by_second or window != SECOND
    ]
    connection.add_script(pipeline, "give_back", names, [at, places])


class LimitCounts:
    """What operators do with the counts."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def use(self, limits: Mapping[str, RateLimit]) -> dict[str, tuple[WindowUse, ...]]:
        """Subject -> how much of each of its windows is used."""
        asking = Reservation(self._keys)
        for subject, limit in limits.items():
            asking.add(subject, 0, limit)
        pipeline = Pipeline()
        asking.queue(self._connection, pipeline, "limit_use")
        return asking.uses(await self._connection.run(pipeline)) if pipeline.commands else {}

    async def reset(self, subjects: Iterable[str]) -> None:
        """Forget what was counted."""
        pipeline = Pipeline()
        for subject in subjects:
            partition = partition_of(subject, self._keys.partitions)
            for window in WINDOW_LENGTHS_MS:
                pipeline.add("DEL", self._keys.limit(partition, subject, window))
        await self._connection.run(pipeline)
