"""A queue of several lanes that are served by weight, so that the urgent come first and nobody starves."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Lane(Generic[Item]):
    __slots__ = ("cost", "items", "served")

    def __init__(self, weight: int) -> None:
        self.items: deque[Item] = deque()
        self.cost = 1 / weight
        self.served = 0.0
        """What was taken of it, each unit at its cost."""


class FairQueue(Generic[Item]):
    """Takes from the lane that got the least for its weight (start-time fair queueing).

    While a lane has something, it gets at least its weight's share of what is taken, short of one item; the
    order within a lane is kept. A lane that was empty comes back without a claim to what it missed.

    Args:
        weights: Lane -> its weight, at least 1; of lanes that got equally much the first named is next.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._lanes = {name: _Lane[Item](weight) for name, weight in weights.items()}
        self._order = tuple(self._lanes.values())
        self._now = 0.0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def length(self, lane: str) -> int:
        """Items of one lane."""
        return len(self._lanes[lane].items)

    def extend(self, lane: str, items: Iterable[Item]) -> None:
        """Add items at the end of a lane."""
        found = self._lanes[lane]
        before = len(found.items)
        if not before:
            found.served = max(found.served, self._now)
        found.items.extend(items)
        self._length += len(found.items) - before

    def peek(self) -> Item:
        """The item that is next.

        Raises:
            IndexError: There is none.
        """
        return self._next().items[0]

    def take(self, size: int = 1) -> Item:
        """Take the item that is next, and count it as `size` units of its lane.

        Raises:
            IndexError: There is none.
        """
        lane = self._next()
        item = lane.items.popleft()
        self._length -= 1
        self._now = lane.served
        lane.served += size * lane.cost
        return item

    def clear(self) -> None:
        """Drop everything."""
        for lane in self._order:
            lane.items.clear()
        self._length = 0

    def _next(self) -> _Lane[Item]:
        best = None
        for lane in self._order:
            if lane.items and (best is None or lane.served < best.served):
                best = lane
        if best is None:
            raise IndexError("the queue is empty")
        return best
