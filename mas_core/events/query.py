"""Which events of a store are wanted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mas_core.base.name_patterns import ANYTHING
from mas_core.events.selection import EventFilter, Selection, select
from mas_core.model.event import Event


class StoredEvent(NamedTuple):
    """An event and its number in the store."""

    seq: int
    event: Event


@dataclass(frozen=True)
class EventQuery:
    """What is wanted; everything that is left out matches all."""

    type: str = ANYTHING
    """A pattern: `order.created`, `order.*`, `order.>`."""
    topic: str = ANYTHING
    source: str | Collection[str] = ()
    filter: EventFilter = None
    since: int | None = None
    """The first moment, in Unix milliseconds."""
    until: int | None = None
    """The first moment that does not count any more."""
    after: int = 0
    """Only events with a larger number."""
    newest_first: bool = False

    def __post_init__(self) -> None:
        """Compile it.

        Raises:
            FilterInvalid: Something of it cannot be understood.
        """
        _ = self.selection

    @property
    def sources(self) -> frozenset[str]:
        """The sources that are wanted; all when empty."""
        return frozenset({self.source} if isinstance(self.source, str) else self.source) - {""}

    @cached_property
    def selection(self) -> Selection:
        """What was compiled."""
        return select(type=self.type, topic=self.topic, source=self.source, filter=self.filter)

    def matches(self, event: Event) -> bool:
        """Whether an event is wanted, apart from its number."""
        return (
            (self.since is None or event.time >= self.since)
            and (self.until is None or event.time < self.until)
            and self.selection.matches(event)
        )
