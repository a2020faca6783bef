"""A calculator: typed requests in, typed replies out."""

import math
from typing import Annotated

from pydantic import BaseModel, Field

from mas_core import Agent, AgentMessage
from mas_core.errors import InvalidPayload


class Numbers(BaseModel):
    """What to calculate with, in order."""

    numbers: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(min_length=1, max_length=10_000)


class Result(BaseModel):
    """A whole number where the result is one."""

    result: int | float


class Calculator(Agent):
    """Answers `math.add` and its like."""

    @Agent.on("math.add", model=Numbers)
    async def add(self, _message: AgentMessage, payload: Numbers) -> Result:
        """The sum, without the rounding errors of adding one by one."""
        return _result(math.fsum(payload.numbers))

    @Agent.on("math.subtract", model=Numbers)
    async def subtract(self, _message: AgentMessage, payload: Numbers) -> Result:
        """The first number less all others."""
        first, *others = payload.numbers
        return _result(math.fsum([first, *(-number for number in others)]))

    @Agent.on("math.multiply", model=Numbers)
    async def multiply(self, _message: AgentMessage, payload: Numbers) -> Result:
        """The product."""
        return _result(math.prod(payload.numbers))

    @Agent.on("math.divide", model=Numbers)
    async def divide(self, _message: AgentMessage, payload: Numbers) -> Result:
        """The first number divided by all others."""
        first, *others = payload.numbers
        if 0 in others:
            raise InvalidPayload("numbers cannot be divided by zero")
        for number in others:
            first /= number
        return _result(first)

    @Agent.on("math.mean", model=Numbers)
    async def mean(self, _message: AgentMessage, payload: Numbers) -> Result:
        """The mean."""
        return _result(math.fsum(payload.numbers) / len(payload.numbers))


def _result(value: float) -> Result:
    if not math.isfinite(value):
        raise InvalidPayload("the result is too large to be written as a number")
    return Result(result=int(value) if value.is_integer() else value)
