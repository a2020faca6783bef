"""Delays between attempts that grow and are jittered."""

from __future__ import annotations

import random
from collections.abc import Iterator


def exponential_delays(
    base: float = 1.0, maximum: float = 60.0, factor: float = 2.0, jitter: float = 0.2
) -> Iterator[float]:
    """Endless delays in seconds: `base`, then `factor` times the last up to `maximum`, each ± `jitter`."""
    delay = base
    while True:
        yield delay * random.uniform(1 - jitter, 1 + jitter)  # noqa: S311 - spreads load, guards nothing
        delay = min(delay * factor, maximum)
