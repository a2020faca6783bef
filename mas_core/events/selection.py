"""Which events somebody wants: by type, topic, source and content; compiled once, asked for each event."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mas_core.base.name_patterns import ANYTHING
from mas_core.errors import FilterInvalid
from mas_core.events.conditions import Equality, Predicate, all_of, compile_conditions, key_getter
from mas_core.events.expressions import Expression, Undecided
from mas_core.events.patterns import compile_pattern
from mas_core.model.event import Event

EventFilter: TypeAlias = Mapping[str, object] | str | Callable[[Event], object] | None
"""Conditions on fields, an expression, or a function."""

__all__ = ["EventFilter", "Selection", "Undecided", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """What was compiled of a selection."""

    type: str
    topic: str
    matches_type: Callable[[str], bool]
    matches_topic: Callable[[str], bool]
    equality: Equality | None
    """A field with few values, to find the selection by."""
    rest: Predicate | None
    """What has to hold besides type, topic and equality."""
    asks: Callable[[Event], object] | None
    """An expression or a function, which may raise; asked last."""
    unknown_names: tuple[str, ...] = ()
    """Names in an expression that no event has."""

    def matches(self, event: Event) -> bool:
        """Whether an event is wanted; what cannot be decided is not.

        Raises:
            Exception: Whatever the filter raises.
        """
        if not (self.matches_type(event.type) and self.matches_topic(event.topic)):
            return False
        if self.equality and self.equality.read(event) not in self.equality.keys:
            return False
        if self.rest and not self.rest(event):
            return False
        try:
            return self.asks is None or bool(self.asks(event))
        except Undecided:
            return False


def select(
    *,
    type: str = ANYTHING,  # noqa: A002 - what the attribute of an event is called
    topic: str = ANYTHING,
    source: str | Collection[str] = (),
    filter: EventFilter = None,  # noqa: A002
) -> Selection:
    """Compile which events are wanted; all of it has to hold.

    Args:
        type: A pattern: `order.created`, `order.*` (one more word), `order.>` (one or more words).
        topic: A pattern likewise; `>` also takes events without a topic.
        source: One source, or several.
        filter: Conditions on fields, an expression of the Common Expression Language, or a function.

    Raises:
        FilterInvalid: Something of it cannot be understood.
    """
    conditions = compile_conditions(filter) if isinstance(filter, Mapping) else None
    asks: Callable[[Event], object] | None = None
    unknown: tuple[str, ...] = ()
    if isinstance(filter, str):
        asks = expression = Expression(filter)
        unknown = expression.unknown_names
    elif conditions is None and filter is not None:
        if not callable(filter):
            raise FilterInvalid(
                "a filter is a mapping of conditions, an expression or a function",
                hint="""{"data.amount": {"ge": 100}} or 'data.amount >= 100'""",
            )
        asks = filter
    equality = conditions.equality if conditions else None
    rest = [conditions.rest] if conditions and conditions.rest else []
    sources = frozenset({source} if isinstance(source, str) else source) - {""}
    if sources:
        if equality is None:
            equality = Equality(("source",), sources, key_getter(("source",)))
        else:
            rest.insert(0, lambda event: event.source in sources)
    return Selection(
        type,
        topic,
        compile_pattern(type),
        compile_pattern(topic),
        equality,
        all_of(rest),
        asks,
        unknown,
    )
