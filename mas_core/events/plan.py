"""Plans: for one type and topic, which subscriptions to ask about what, and in which order of cost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from mas_core.events.conditions import Getter, Path, key_getter
from mas_core.events.selection import Selection
from mas_core.model.event import Event

Deliver = Callable[[Event], None]
Ask = Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Entry:
    """A subscription as a plan sees it."""

    selection: Selection
    deliver: Deliver
    ask: Ask | None
    """All of its filter that no index knows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the events of one type and topic."""

    always: tuple[Deliver, ...]
    asked: tuple[tuple[Ask, Deliver], ...]
    tables: tuple[tuple[Getter, dict[Hashable, tuple[tuple[Ask | None, Deliver], ...]]], ...]
    """For each field: its value -> who wants events with it, and what else they ask."""


def make_plan(entries: Iterable[Entry], event_type: str, topic: str) -> Plan:
    """The plan for a type and a topic."""
    always: list[Deliver] = []
    asked: list[tuple[Ask, Deliver]] = []
    tables: dict[Path, dict[Hashable, list[tuple[Ask | None, Deliver]]]] = {}
    for entry in entries:
        selection = entry.selection
        if not (selection.matches_type(event_type) and selection.matches_topic(topic)):
            continue
        if selection.equality is not None:
            table = tables.setdefault(selection.equality.path, {})
            for key in selection.equality.keys:
                table.setdefault(key, []).append((entry.ask, entry.deliver))
        elif entry.ask is None:
            always.append(entry.deliver)
        else:
            asked.append((entry.ask, entry.deliver))
    return Plan(
        tuple(always),
        tuple(asked),
        tuple(
            (key_getter(path), {key: tuple(found) for key, found in table.items()})
            for path, table in tables.items()
        ),
    )
