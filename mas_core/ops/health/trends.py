"""What became of numbers over a minute or five, from looks of one's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise

from mas_core.ops.health.metrics import MetricSample

KEPT_S = 300
_Name = tuple[str, tuple[tuple[str, str], ...]]


class Trends:
    """Keeps looks for five minutes."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, dict[_Name, float]]] = deque()

    def add(self, now: int, samples: Iterable[MetricSample]) -> None:
        """Keep one look, made at `now` in Unix milliseconds."""
        self._looks.append((now, {_name(sample): sample.value for sample in samples}))
        # One look that is older stays, so that there is always one to compare with.
        while len(self._looks) > 2 and self._looks[1][0] < now - KEPT_S * 1000:
            self._looks.popleft()

    def over(self, sample: MetricSample, seconds: float) -> float | None:
        """Growth a second of a counter, average of another number, over so long; None with one look only.

        A counter that fell began anew with its process, and grows from there.
        """
        if len(self._looks) < 2:
            return None
        now, name = self._looks[-1][0], _name(sample)
        found = [
            (moment, values[name])
            for moment, values in self._looks
            if name in values and moment >= now - seconds * 1000
        ]
        if len(found) < 2:
            return None
        if not sample.is_counter:
            return round(sum(value for _, value in found) / len(found), 6)
        span = (found[-1][0] - found[0][0]) / 1000
        values = [value for _, value in found]
        grown = sum(after - before if after >= before else after for before, after in pairwise(values))
        return round(grown / span, 6) if span > 0 else None


def _name(sample: MetricSample) -> _Name:
    return sample.name, tuple(sorted(sample.labels.items()))
