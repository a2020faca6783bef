"""Decides how many instances of an agent should run, from what its backlog was and for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mas_core.settings.instances import Instances

COMFORT = 0.5
"""An instance is taken away only while the others would be at most this full; the gap to the target keeps the
number from going to and fro."""
GAP_S = 10.0
"""After so long without a look nothing is known of the time between, and waiting begins anew."""


@dataclass(frozen=True, slots=True)
class ScaleStep:
    """How many instances should run from now on, and why."""

    count: int
    reason: str


class ScalePlan:
    """Looks at one agent again and again; grows soon and by much, shrinks late and one by one.

    More instances: the backlog was above the target of those there are for `grow_after` seconds; the lowest
    backlog of that time counts, and their number is at most doubled.
    One less: the backlog would have left the others at most half full for `cool_down` seconds.

    Args:
        instances: The range and the times.
    """

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._looked_at = -math.inf
        self._busy_since: float | None = None
        self._least = 0
        """The lowest backlog since then."""
        self._idle_since: float | None = None

    def look(self, backlog: int, count: int, now: float) -> ScaleStep | None:
        """What to do about `backlog` unsettled messages with `count` instances; None for nothing.

        Args:
            backlog: Messages delivered and not settled.
            count: Instances that work.
            now: Seconds of a clock that never goes back.
        """
        if now - self._looked_at > GAP_S:
            self.start_over()
        self._looked_at = now
        if count < self._instances.max and backlog > count * self._instances.target:
            return self._grow(backlog, count, now)
        self._busy_since = None
        return self._shrink(backlog, count, now)

    def start_over(self) -> None:
        """Wait anew, as after a time of which nothing is known."""
        self._busy_since = self._idle_since = None

    def _grow(self, backlog: int, count: int, now: float) -> ScaleStep | None:
        self._idle_since = None
        if self._busy_since is None:
            self._busy_since, self._least = now, backlog
        self._least = min(self._least, backlog)
        # Where none runs nobody does anything, and there is nothing to wait for.
        if count and now - self._busy_since < self._instances.grow_after:
            return None
        since, least = now - self._busy_since, self._least
        self.start_over()
        target = self._instances.target
        wanted = min(self._instances.max, math.ceil(least / target), max(1, 2 * count))
        return ScaleStep(
            wanted,
            f"at least {least} messages waited for {since:.0f} s, with a target of {target} an instance",
        )

    def _shrink(self, backlog: int, count: int, now: float) -> ScaleStep | None:
        others = count - 1
        if others < self._instances.min or backlog > others * self._instances.target * COMFORT:
            self._idle_since = None
            return None
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since < self._instances.cool_down:
            return None
        since = now - self._idle_since
        self._idle_since = now
        return ScaleStep(others, f"one less was enough for {since:.0f} s")
