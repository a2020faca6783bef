"""Marks on the methods of an agent class: what one handles, where it is found again, and what its model takes.

A decorator marks a method while the class is being written; the agent looks for the marks when it is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from mas_core.errors import InvalidPayload, UsageError

T = TypeVar("T")

_PROBLEMS_SHOWN = 5


class Marks(Generic[T]):
    """Marks of one kind.

    Args:
        attribute: The name under which a method keeps them.
    """

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute

    def put(self, method: Callable[..., Any], mark: T) -> None:
        """Mark a method, beside the marks that it has."""
        setattr(method, self._attribute, [*getattr(method, self._attribute, ()), mark])

    def of(self, kind: type[Any]) -> Iterator[tuple[str, T]]:
        """The marks of a class with the names of their methods; those of subclasses come last, so that they win."""
        for base in reversed(kind.__mro__):
            for name, method in vars(base).items():
                for mark in getattr(method, self._attribute, ()):
                    yield name, mark


def takes_content(method: Callable[..., Awaitable[object]], handled: str) -> bool:
    """Whether a handler wants its payload or parameters as a second argument.

    Args:
        method: The handler, as it stands in its class.
        handled: What it is the handler of.

    Raises:
        UsageError: It is no async function.
    """
    if not inspect.iscoroutinefunction(method):
        raise UsageError(f"the handler of {handled} must be an async function")
    return len(inspect.signature(method).parameters) > 2


def fitted(model: type[BaseModel], content: Mapping[str, object], whole: str, complaint: str) -> BaseModel:
    """What came, as a handler's model.

    Args:
        model: What it has to look like.
        content: What came.
        whole: What a problem is told of that is at no single place.
        complaint: How the error begins.

    Raises:
        InvalidPayload: It does not fit; says where, never what was found there.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or whole}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False, include_context=False)[
                :_PROBLEMS_SHOWN
            ]
        )
        raise InvalidPayload(f"{complaint}: {problems}") from None
