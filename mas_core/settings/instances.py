"""How many instances of an agent run: a number, or a range in which the runner scales."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_INSTANCES = 256

_FORMS = "write  instances: 2  or  instances: {min: 1, max: 8, scale_on: backlog}"


class Instances(BaseModel):
    """Between how many and how many run at once, and what decides."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    min: int = Field(default=1, ge=0, le=MAX_INSTANCES)
    """How many run when there is nothing to do."""
    max: int = Field(ge=0, le=MAX_INSTANCES)
    """How many run at most, of each runner."""
    scale_on: Literal["backlog"] = "backlog"
    """What is looked at: messages that were delivered and are not settled."""
    target: int = Field(default=10, ge=1, le=1_000_000)
    """Messages of the backlog for each instance; more of them call for another instance."""
    grow_after: float = Field(default=3, ge=0, le=3600)
    """Seconds for which there have to be more before instances are added."""
    cool_down: float = Field(default=60, ge=1, le=86_400)
    """Seconds for which there has to be little to do before one instance is taken away."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}\n{_FORMS}")
        return self

    @property
    def is_scaled(self) -> bool:
        """Whether their number changes by itself."""
        return self.min < self.max


def read_instances(value: object) -> object:
    """A plain number as a range of that one number; everything else as it is."""
    if isinstance(value, Instances | dict):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a number or a mapping\n{_FORMS}")  # noqa: TRY004 - pydantic reads it
    if not 0 <= value <= MAX_INSTANCES:
        bound = "greater than or equal to 0" if value < 0 else f"less than or equal to {MAX_INSTANCES}"
        raise ValueError(f"should be {bound}\n{_FORMS}")
    return {"min": value, "max": value}
