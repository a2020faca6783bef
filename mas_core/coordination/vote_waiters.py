"""Who waits for results of votes: in memory only, and never for longer than they said."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

import msgspec

from mas_core.coordination.machine import Command

MAX_WAITERS: Final = 10_000
_Key = tuple[str, str, str]


class Waiter(msgspec.Struct, frozen=True):
    """Somebody who asked and gets the answer later."""

    command: Command
    names: tuple[str, ...]
    """Ids of the proposals."""
    rounds: dict[str, int]
    """Word of a proposal -> the round that the asker knows of."""
    documents: bool
    until: int
    """Unix milliseconds."""

    @property
    def key(self) -> _Key:
        """What tells it from others."""
        return self.command.sender, self.command.instance, self.command.request


class Waiters:
    """All who wait in one partition."""

    def __init__(self) -> None:
        self._waiters: dict[_Key, Waiter] = {}
        self._by_name: dict[str, dict[_Key, None]] = {}
        self._due: list[tuple[int, _Key]] = []

    def clear(self) -> None:
        """Forget everybody; they ask again."""
        self._waiters.clear()
        self._by_name.clear()
        self._due.clear()

    def all(self) -> list[Command]:
        """What everybody asked."""
        return [waiter.command for waiter in self._waiters.values()]

    def add(self, waiter: Waiter) -> bool:
        """Remember somebody; False when too many wait already."""
        if len(self._waiters) >= MAX_WAITERS:
            return False
        self._waiters[waiter.key] = waiter
        for name in waiter.names:
            self._by_name.setdefault(name, {})[waiter.key] = None
        heapq.heappush(self._due, (waiter.until, waiter.key))
        return True

    def of(self, names: Iterable[str]) -> list[Waiter]:
        """Who waits for one of these, in the order in which they came."""
        keys = dict.fromkeys(key for name in names for key in self._by_name.get(name, ()))
        return [self._waiters[key] for key in keys]

    def remove(self, waiter: Waiter) -> None:
        """It has its answer."""
        del self._waiters[waiter.key]
        for name in waiter.names:
            waiting = self._by_name[name]
            del waiting[waiter.key]
            if not waiting:
                del self._by_name[name]

    def next_due(self) -> int:
        """When the first of them has waited long enough; 0 for never."""
        while self._due and self._due[0][1] not in self._waiters:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else 0

    def due(self, now: int) -> list[Waiter]:
        """Who has waited long enough."""
        found = []
        while self._due and self._due[0][0] <= now:
            waiter = self._waiters.get(heapq.heappop(self._due)[1])
            if waiter is not None:
                found.append(waiter)
        return found
