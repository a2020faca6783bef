"""Values of any type of the library, with every text in them the same: what a hostile sender would fill in."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

NUMBER = 3


def filled(kind: Any, text: str, **given: Any) -> Any:
    """A value of this type: texts are `text`, numbers are small, lists have one item.

    Args:
        kind: A type: plain, a container, a dataclass, or a msgspec structure.
        text: What every text is.
        **given: Fields of the outermost structure that are to have other values.
    """
    return _filled(kind, text, given, 0)


def _filled(kind: Any, text: str, given: Mapping[str, Any], depth: int) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        wanted = [one for one in arguments if one is not type(None)]
        return _filled(wanted[0], text, {}, depth)
    if origin is typing.Literal:
        return arguments[0]
    if origin is typing.Annotated:
        return _filled(arguments[0], text, {}, depth)
    if origin in (dict, Mapping):
        return {text: _filled(arguments[1], text, {}, depth)}
    if origin in (list, tuple, set, frozenset, Sequence):
        container = list if origin is Sequence else origin
        return container([] if depth > 3 else [_filled(arguments[0], text, {}, depth + 1)])
    if kind in (str, object, Any):
        return text
    if kind is bytes:
        return text.encode(errors="replace")
    if kind is bool:
        return False
    if kind in (int, float):
        return kind(NUMBER)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        names = [*kind.__struct_fields__]
    elif dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
    else:
        raise TypeError(f"no value of {kind} is known")
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            name: given[name] if name in given else _filled(hints[name], text, {}, depth + 1)
            for name in names
        }
    )
