"""Which instances are subscribed to which topics now; kept in the owner's memory and renewed by the instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mas_core.base.resources import matches_name
from mas_core.model.topic import FORGET_AFTER_MS


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One instance, and what it wants to hear of."""

    agent: str
    instance: str
    patterns: tuple[str, ...]
    until: int
    """Unix milliseconds."""

    def wants(self, topic: str) -> bool:
        """Whether a topic matches one of its patterns."""
        return any(matches_name(pattern, topic) for pattern in self.patterns)


class Subscriptions:
    """The subscribed instances of one partition.

    It survives that an owner starts over; a new owner learns of them when they renew.
    """

    def __init__(self) -> None:
        self._subscribers: dict[tuple[str, str], Subscriber] = {}
        self.version = 0
        """Grows with every change, so that what was counted before can be told from what counts now."""

    def set(self, agent: str, instance: str, patterns: tuple[str, ...], now: int) -> tuple[str, ...]:
        """Note what an instance wants, in place of what it wanted before; the patterns for which that is new."""
        key = (agent, instance)
        known = self._subscribers.pop(key, None)
        before = known.patterns if known is not None else ()
        if patterns:
            self._subscribers[key] = Subscriber(agent, instance, patterns, now + FORGET_AFTER_MS)
        if before == patterns:
            return ()
        self.version += 1
        return (*before, *patterns)

    def forget_old(self, now: int) -> None:
        """Forget those that were not renewed."""
        old = [key for key, subscriber in self._subscribers.items() if subscriber.until < now]
        for key in old:
            del self._subscribers[key]
        self.version += bool(old)

    def of(self, topic: str) -> Iterator[Subscriber]:
        """Those that want to hear of a topic."""
        return (item for item in self._subscribers.values() if item.wants(topic))
