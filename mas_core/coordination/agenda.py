"""What has to be looked at when: one moment for each name, however often it was moved."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

_SLACK: Final = 64


class Agenda:
    """Names, each with the next moment at which it has to be looked at."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self._moments: list[tuple[int, str]] = []
        """A heap; moments that were superseded stay in it until they come up or are too many."""

    def remind(self, moment: int, name: str) -> None:
        """Look at it then, unless that is due before anyway: whoever looks says when to look next."""
        if self._next.get(name, moment + 1) <= moment:
            return
        self._next[name] = moment
        if len(self._moments) > 2 * len(self._next) + _SLACK:
            self._moments = [(at, known) for known, at in self._next.items()]
            heapq.heapify(self._moments)
        else:
            heapq.heappush(self._moments, (moment, name))

    def next_due(self) -> int:
        """The first moment; 0 when there is none."""
        while self._moments and self._next.get(self._moments[0][1]) != self._moments[0][0]:
            heapq.heappop(self._moments)
        return self._moments[0][0] if self._moments else 0

    def take_due(self, now: int) -> Iterator[str]:
        """Names whose moment has come; they have none any more."""
        while 0 < self.next_due() <= now:
            _, name = heapq.heappop(self._moments)
            del self._next[name]
            yield name
