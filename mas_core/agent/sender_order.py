"""One handler at a time for each sender: what comes while one runs waits for its end, in the order of arrival."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class SenderOrder(Generic[Item]):
    """Whose messages are being handled, and which wait for them."""

    def __init__(self) -> None:
        self._busy: dict[str, deque[Item]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        """Messages that wait for another one of their sender."""
        return self._waiting

    def begin(self, sender: str, item: Item) -> bool:
        """Whether a message of this sender may start; if not, it waits for its turn."""
        queue = self._busy.get(sender)
        if queue is None:
            self._busy[sender] = deque()
            return True
        queue.append(item)
        self._waiting += 1
        return False

    def end(self, sender: str) -> Item | None:
        """A message of this sender is done with: the one whose turn it is now, which has begun by that."""
        queue = self._busy[sender]
        if not queue:
            del self._busy[sender]
            return None
        self._waiting -= 1
        return queue.popleft()

    def clear(self) -> None:
        """Forget all that wait."""
        for queue in self._busy.values():
            queue.clear()
        self._waiting = 0
