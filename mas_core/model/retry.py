"""When a failed attempt is followed by another: the terms that travel with a message, and the delays they give."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Annotated, Final, Literal

import msgspec

Strategy = Literal["fixed", "exponential", "full_jitter", "equal_jitter", "decorrelated_jitter"]

MAX_ATTEMPTS: Final = 100
MAX_DELAY_MS: Final = 24 * 3_600_000
MAX_ELAPSED_MS: Final = 30 * 24 * 3_600_000

_Delay = Annotated[int, msgspec.Meta(ge=1, le=MAX_DELAY_MS)]


class RetryTerms(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How often something is tried, and how long it rests in between. Times are milliseconds.

    The ways to jitter are those of "Exponential Backoff And Jitter" (M. Brooker, AWS Architecture Blog, 2015).
    """

    strategy: Strategy = "exponential"
    attempts: Annotated[int, msgspec.Meta(ge=1, le=MAX_ATTEMPTS)] = 3
    """Including the first."""
    base_ms: _Delay = 1_000
    max_ms: _Delay = 60_000
    """No delay is longer."""
    factor: Annotated[float, msgspec.Meta(ge=1, le=100)] = 2.0
    """By which each delay is longer than the one before, where the strategy says so."""
    jitter: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    """Fixed and exponential delays are longer or shorter by up to this part of themselves."""
    max_elapsed_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_ELAPSED_MS)] = 0
    """No attempt begins later than this after the first; 0 for no bound."""

    def delays_ms(self, chance: Random) -> Iterator[float]:
        """Endless delays: before the second attempt, before the third, and so on."""
        limit = float(self.max_ms)
        ceiling = previous = min(limit, float(self.base_ms))
        while True:
            match self.strategy:
                case "full_jitter":
                    yield chance.uniform(0, ceiling)
                case "equal_jitter":
                    yield ceiling / 2 + chance.uniform(0, ceiling / 2)
                case "decorrelated_jitter":
                    previous = min(limit, chance.uniform(min(limit, self.base_ms), previous * 3))
                    yield previous
                case _:
                    yield chance.uniform(ceiling * (1 - self.jitter), min(limit, ceiling * (1 + self.jitter)))
            if self.strategy != "fixed":
                ceiling = min(limit, ceiling * self.factor)

    def delay_ms(self, failures: int, seed: str) -> int:
        """The delay after so many failures; a seed has one series of delays, whoever asks for the next of it."""
        delays = self.delays_ms(Random(seed))  # noqa: S311 - spreads load, guards nothing
        return max(1, round(next(islice(delays, max(0, failures - 1), None))))


AS_EVER: Final = RetryTerms(factor=4.0, jitter=0.0)
"""What counts for agents that say nothing: three attempts, the second after one second, the third after four."""
