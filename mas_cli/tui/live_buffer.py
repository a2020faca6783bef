"""What the gateways decided lately: the newest events, counts by the second, and who talks most to whom.

Under a flood only a share of what passed is kept, which `sampling` tells; what was refused is always kept.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mas_core.model.decision import DELIVERED

if TYPE_CHECKING:
    from mas_core.ops.watch import LiveEvent

KEPT_EVENTS: Final = 10_000
SECONDS: Final = 300
"""How far back counts reach."""
PAIR_SECONDS: Final = 60
FULL_RATE: Final = 1_000
"""Events a second up to which all are kept."""
MAX_PAIRS: Final = 2_000
"""Different pairs that are counted in a second; further ones are counted in the totals only."""
SHOWN_PAIRS: Final = 20


class LiveBuffer:
    """Collects events; reading it changes nothing."""

    def __init__(self) -> None:
        self.events: deque[tuple[int, LiveEvent]] = deque(maxlen=KEPT_EVENTS)
        """Number and event, oldest first; numbers rise and never repeat."""
        self.seen = 0
        """Events since the beginning, those included that were not kept."""
        self.refused = 0
        self.sampling = 1
        """One in so many of the events that passed is kept."""
        self._number = 0
        self._seconds: deque[tuple[int, int, float]] = deque([(0, 0, 0.0)] * SECONDS, maxlen=SECONDS)
        self._pairs: deque[Counter[tuple[str, str]]] = deque(maxlen=PAIR_SECONDS)
        self._second = 0
        self._in = self._out = 0
        self._waits: list[int] = []
        self._current: Counter[tuple[str, str]] = Counter()
        self._busiest: list[tuple[str, str, float, float]] | None = None
        """The busiest pairs as they were counted since the last second was closed; None when they were not yet."""

    def add(self, event: LiveEvent, *, now: float) -> None:
        """Take an event in.

        Args:
            event: The event.
            now: Seconds of the clock that rates are counted by; one that goes back a little does no harm.
        """
        self.advance(now)
        self.seen += 1
        self._in += 1
        has_passed = event.decision in DELIVERED
        if not has_passed:
            self.refused += 1
            self._out += 1
        self._waits.append(event.ms)
        pair = (event.sender, event.target)
        if len(self._current) < MAX_PAIRS or pair in self._current:
            self._current[pair] += 1
        if has_passed and self.sampling > 1 and self.seen % self.sampling:
            return
        self._number += 1
        self.events.append((self._number, event))

    def advance(self, now: float) -> None:
        """Close the seconds that have gone by."""
        second = int(now)
        if second <= self._second:
            return
        if self._second:
            self._seconds.append((self._in, self._out, _p95(self._waits)))
            self._pairs.append(self._current)
            self.sampling = max(1, -(-self._in // FULL_RATE))
        for _ in range(max(self._second + 1, second - SECONDS), second) if self._second else ():
            self._seconds.append((0, 0, 0.0))
            self._pairs.append(Counter())
        self._second, self._in, self._out = second, 0, 0
        self._waits, self._current = [], Counter()
        self._busiest = None

    def restart(self) -> None:
        """Forget everything but the numbers, which go on rising."""
        number = self._number
        vars(self).update(vars(LiveBuffer()))
        self._number = number

    @property
    def newest(self) -> int:
        """The number of the newest event that was kept."""
        return self._number

    def after(self, number: int) -> Iterator[tuple[int, LiveEvent]]:
        """What was kept after the event of this number, newest first."""
        for found in reversed(self.events):
            if found[0] <= number:
                return
            yield found

    def refused_lately(self, now: int, milliseconds: int = 60_000) -> Counter[str]:
        """How much each agent was refused of late, as the sender, of what is kept.

        Args:
            now: Unix milliseconds.
            milliseconds: How far back is counted.
        """
        found: Counter[str] = Counter()
        for _, event in reversed(self.events):
            if event.time < now - milliseconds:
                break
            if event.decision and event.decision not in DELIVERED:
                found[event.sender] += 1
        return found

    def rates(self, seconds: int = 5) -> tuple[float, float]:
        """Events and refusals a second over the last few seconds."""
        lately = list(self._seconds)[-seconds:]
        span = max(1, len(lately))
        return sum(item[0] for item in lately) / span, sum(item[1] for item in lately) / span

    def series(self, name: str) -> list[float]:
        """Second by second, oldest first: `in`, `refused`, or `p95` (milliseconds)."""
        place = ("in", "refused", "p95").index(name)
        return [float(item[place]) for item in self._seconds]

    def busiest(self) -> list[tuple[str, str, float, float]]:
        """From, to, messages a second, and share of all, of the busiest pairs of the last minute."""
        if self._busiest is None:
            self._busiest = self._count_busiest()
        return self._busiest

    def _count_busiest(self) -> list[tuple[str, str, float, float]]:
        totals: Counter[tuple[str, str]] = Counter()
        for pairs in self._pairs:
            totals.update(pairs)
        everything = sum(totals.values()) or 1
        span = max(1, len(self._pairs))
        return [
            (sender, target, number / span, number / everything)
            for (sender, target), number in totals.most_common(SHOWN_PAIRS)
        ]


def _p95(waits: list[int]) -> float:
    return float(sorted(waits)[int(len(waits) * 0.95)]) if waits else 0.0
