"""What the state of an agent looks like: a plain dict or a pydantic model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from mas_core.errors import InvalidPayload
from mas_core.model.json_text import MAX_BYTES

S = TypeVar("S")

MAX_STATE_BYTES = MAX_BYTES
"""Longest text of a state: what a payload may have, so that every command can show it."""


class StateShape(Generic[S]):
    """Makes, checks and stores states of one shape.

    Args:
        model: The pydantic model; None for a plain dict.
    """

    def __init__(self, model: type[BaseModel] | None) -> None:
        self.model = model

    def default(self) -> Any:
        """The state of an agent that has none yet."""
        return self.model() if self.model is not None else {}

    def decode(self, text: bytes) -> Any:
        """The state from its stored text.

        Raises:
            InvalidPayload: It does not fit the model.
        """
        value = msgspec.json.decode(text) if text else None
        if self.model is None:
            return value or {}
        if value is None:
            return self.model()
        return self._checked(value)

    def encode(self, state: object) -> bytes:
        """The text of a state.

        Raises:
            InvalidPayload: JSON cannot say it, or it is too long.
        """
        if isinstance(state, BaseModel):
            state = state.model_dump(mode="json")
        try:
            text = msgspec.json.encode(state)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidPayload(f"the state cannot be written as JSON: {error}") from error
        if len(text) > MAX_STATE_BYTES:
            raise InvalidPayload(
                f"the state has {len(text):,} bytes; at most {MAX_STATE_BYTES:,} are kept",
                size=len(text),
                limit=MAX_STATE_BYTES,
            )
        return text

    def updated(self, state: object, changes: Mapping[str, object]) -> Any:
        """A new state with `changes`; `state` stays as it is.

        Raises:
            InvalidPayload: The result does not fit the model.
        """
        if self.model is None:
            current = state if isinstance(state, dict) else {}
            changed = {**current, **changes}
            self.encode(changed)
            return changed
        current = state.model_dump() if isinstance(state, BaseModel) else {}
        return self._checked({**current, **changes})

    @staticmethod
    def copy(state: object) -> Any:
        """An independent copy."""
        return state.model_copy(deep=True) if isinstance(state, BaseModel) else copy.deepcopy(state)

    def _checked(self, value: object) -> BaseModel:
        if self.model is None:
            raise TypeError
        try:
            return self.model.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InvalidPayload(
                f"the state does not fit {self.model.__name__}: {place}: {first['msg']}"
            ) from None
