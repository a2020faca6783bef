"""Retries as files say them: in agent specs, and as the gateway's default."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mas_core.model.retry import (
    AS_EVER,
    MAX_ATTEMPTS,
    MAX_DELAY_MS,
    MAX_ELAPSED_MS,
    RetryTerms,
    Strategy,
)
from mas_core.settings.durations import EXAMPLES, seconds_of
from mas_core.settings.permissions import checked_type_glob


def _seconds(value: object) -> object:
    seconds = seconds_of(str(value)) if isinstance(value, str | int | float) else None
    if seconds is None:
        raise ValueError(f"{value!r} is not a duration\n{EXAMPLES}")
    return seconds


_Delay = Annotated[float, BeforeValidator(_seconds), Field(ge=0.001, le=MAX_DELAY_MS / 1000)]
_Elapsed = Annotated[float, BeforeValidator(_seconds), Field(ge=0.001, le=MAX_ELAPSED_MS / 1000)]


class RetrySettings(BaseModel):
    """How often a message is tried, and how long it rests in between."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    strategy: Strategy = "exponential"
    """fixed, exponential, full_jitter, equal_jitter or decorrelated_jitter."""
    attempts: int = Field(default=3, ge=1, le=MAX_ATTEMPTS)
    """How often it is tried, the first time included."""
    base: _Delay = 1.0
    """Before the second attempt, such as 1s."""
    factor: float = Field(default=2.0, ge=1, le=100)
    """By which each delay is longer than the one before."""
    max_delay: _Delay = 60.0
    """No delay is longer, such as 5m."""
    jitter: float = Field(default=0.2, ge=0, le=1)
    """Fixed and exponential delays are longer or shorter by up to this part of themselves, by chance."""
    max_elapsed: _Elapsed | None = None
    """No attempt begins later than this after the message was accepted, such as 1h."""

    def as_terms(self) -> RetryTerms:
        """The same as it travels with a message."""
        return RetryTerms(
            self.strategy,
            self.attempts,
            round(self.base * 1000),
            round(self.max_delay * 1000),
            self.factor,
            self.jitter,
            round((self.max_elapsed or 0) * 1000),
        )


class DefaultRetrySettings(RetrySettings):
    """How messages are tried again whose agents do not say: three times, after one and after four seconds."""

    factor: float = Field(default=AS_EVER.factor, ge=1, le=100)
    """By which each delay is longer than the one before."""
    jitter: float = Field(default=AS_EVER.jitter, ge=0, le=1)
    """Fixed and exponential delays are longer or shorter by up to this part of themselves, by chance."""


class RetryEntry(RetrySettings):
    """The same, and which errors are worth another attempt."""

    retry_on: list[Annotated[str, Field(max_length=100)]] | None = None
    """Codes such as gateway_down, or names of exceptions; all when left out."""
    give_up_on: list[Annotated[str, Field(max_length=100)]] | None = None
    """Those that are not; wrong calls and payloads when left out."""


class AgentRetries(RetryEntry):
    """`retry` of an agent spec: for all its messages, and for some types."""

    types: dict[Annotated[str, AfterValidator(checked_type_glob)], RetryEntry] = {}
    """Pattern of message types -> what is different for them; the first that fits counts."""

    def by_type(self) -> dict[str, dict[str, Any]]:
        """Pattern of message types -> fields of the policy; `*` for all others, where anything is said of those."""
        general = self.model_dump(exclude_unset=True, exclude={"types"})
        found = {glob: general | entry.model_dump(exclude_unset=True) for glob, entry in self.types.items()}
        return found | ({"*": general} if general and "*" not in found else {})
