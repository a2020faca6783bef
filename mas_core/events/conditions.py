"""Conditions on the fields of events, as plain predicates.

    {"data.region": "eu", "data.amount": {"ge": 100}, "data.tag": ["new", "hot"], "data.refund": {"exists": False}}

All have to hold. A field that is not there only fulfils `{"exists": False}`; numbers are compared with numbers and
texts with texts, and anything else is no match.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from mas_core.errors import FilterInvalid
from mas_core.model.event import Event

Predicate = Callable[[Event], bool]
Getter = Callable[[Event], Hashable]
Path = tuple[str, ...]

MISSING: Final = object()
_NO_KEY: Final = object()
_FIELDS: Final = ("type", "source", "topic", "id", "time")
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
OPERATORS: Final = ("eq", "ne", "in", *_COMPARISONS, "exists")
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Equality:
    """A field and the values that it may have, for an index."""

    path: Path
    keys: frozenset[Hashable]
    read: Getter


@dataclass(frozen=True, slots=True)
class Conditions:
    """What was compiled: one equality to find it by, if there is one, and a predicate for the rest."""

    equality: Equality | None
    rest: Predicate | None


def compile_conditions(given: Mapping[str, object]) -> Conditions:
    """Compile conditions on fields.

    Raises:
        FilterInvalid: A field or an operator is not known, or a value cannot be compared.
    """
    if len(given) > _MOST:
        raise FilterInvalid(f"a filter has at most {_MOST} conditions")
    equality: Equality | None = None
    rest: list[Predicate] = []
    for name, wanted in given.items():
        path = parse_path(name)
        for operation, value in _operations(name, wanted):
            if operation in {"eq", "in"}:
                keys = _keys(name, value if operation == "in" else [value])
                if equality is None:
                    equality = Equality(path, keys, key_getter(path))
                else:
                    rest.append(_one_of(path, keys))
            else:
                rest.append(_predicate(name, path, operation, value))
    return Conditions(equality, all_of(rest))


def parse_path(name: str) -> Path:
    """The path of a field such as `data.order.amount` or `extensions.subject`.

    Raises:
        FilterInvalid: Events have no such field.
    """
    first, *more = name.split(".") if isinstance(name, str) else ("",)
    if first in _FIELDS and not more:
        return (first,)
    if first in {"data", "extensions"} and all(more):
        return (first, *more)
    raise FilterInvalid(
        f"events have no field {str(name)[:80]!r}",
        hint=f"fields are {', '.join(_FIELDS)}, data.*, extensions.*",
    )


def value_at(event: Event, path: Path) -> object:
    """What stands in a field; `MISSING` where there is nothing."""
    value: object = getattr(event, path[0])
    for word in path[1:]:
        if not isinstance(value, Mapping) or word not in value:
            return MISSING
        value = value[word]
    return value


def key_getter(path: Path) -> Getter:
    """Reads what stands in a field as a key of an index."""
    if len(path) == 1:
        read = operator.attrgetter(path[0])
        if path[0] != "data":
            return read
        return lambda event: _key(read(event))
    if path[0] == "data" and len(path) == 2:
        name = path[1]

        def of_data(event: Event) -> Hashable:
            data = event.data
            value = data.get(name, _NO_KEY) if type(data) is dict else value_at(event, path)
            return value if type(value) is str else _key(value)

        return of_data
    return lambda event: _key(value_at(event, path))


def all_of(predicates: Sequence[Predicate]) -> Predicate | None:
    """One predicate for all of these; None when there is none."""
    if not predicates:
        return None
    if len(predicates) == 1:
        return predicates[0]
    if len(predicates) == 2:
        first, second = predicates
        return lambda event: first(event) and second(event)
    every = tuple(predicates)
    return lambda event: all(predicate(event) for predicate in every)


def _operations(name: str, wanted: object) -> list[tuple[str, object]]:
    if isinstance(wanted, Mapping):
        if not wanted:
            _refuse(name, "says nothing")
        if unknown := [str(word) for word in wanted if word not in OPERATORS]:
            _refuse(
                name, f"has no operator {unknown[0][:40]!r}", hint=f"operators are {', '.join(OPERATORS)}"
            )
        return list(wanted.items())
    if isinstance(wanted, list | tuple | set | frozenset):
        return [("in", wanted)]
    return [("eq", wanted)]


def _key(value: object) -> Hashable:
    """Equal for what JSON calls equal: 1 and 1.0 are, 1 and true are not."""
    if type(value) is bool:
        return (bool, value)
    if isinstance(value, str | int | float) or value is None:
        return value
    return _NO_KEY


def _keys(name: str, values: object) -> frozenset[Hashable]:
    if not isinstance(values, list | tuple | set | frozenset):
        _refuse(name, "is in a list of values")
    keys = [_key(value) for value in values]
    if _NO_KEY in keys:
        _refuse(name, "is compared with texts, numbers, truths and null only")
    return frozenset(keys)


def _one_of(path: Path, keys: frozenset[Hashable]) -> Predicate:
    read = key_getter(path)
    if len(keys) == 1:
        (only,) = keys
        return lambda event: read(event) == only
    return lambda event: read(event) in keys


def _predicate(name: str, path: Path, operation: str, value: object) -> Predicate:
    if operation == "exists":
        if not isinstance(value, bool):
            _refuse(name, "exists or not: true or false")
        return lambda event: (value_at(event, path) is not MISSING) is value
    if operation == "ne":
        (unwanted,) = _keys(name, [value])
        return lambda event: (found := value_at(event, path)) is not MISSING and _key(found) != unwanted
    compare = _COMPARISONS[operation]
    if isinstance(value, str):
        return lambda event: isinstance(found := value_at(event, path), str) and compare(found, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(name, f"is compared by {operation} with a number or a text")
    return lambda event: (
        isinstance(found := value_at(event, path), int | float)
        and not isinstance(found, bool)
        and compare(found, value)
    )


def _refuse(name: str, why: str, *, hint: str = "") -> NoReturn:
    raise FilterInvalid(f"the condition on {name[:80]!r} cannot be: it {why}", hint=hint or ())
