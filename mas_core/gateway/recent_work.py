"""What a gateway has done lately: messages and refusals a second, and how long messages lay before it."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Final

SPAN_S: Final = 10.0
"""Rates are of so many seconds."""
KEPT_WAITS: Final = 1_000
"""Newest messages whose waiting is kept."""


class RecentWork:
    """Counted by the owners of all partitions of one gateway, and read with each heartbeat."""

    def __init__(self) -> None:
        self.refused = 0
        """Messages that were not accepted, since the start."""
        self.waits_ms: deque[int] = deque(maxlen=KEPT_WAITS)
        """How long the newest messages lay before they were judged."""
        self._looks: deque[tuple[float, int, int]] = deque()
        """When, and how many messages and refusals there were."""

    def look(self, messages: int, *, at: float | None = None) -> tuple[float, float]:
        """Messages and refusals a second over the last seconds; 0 at the first look.

        Args:
            messages: How many were judged since the start.
            at: When, in seconds of the monotonic clock; now when left out.
        """
        now = time.monotonic() if at is None else at
        self._looks.append((now, messages, self.refused))
        # One look that is older stays, so that the span is a whole one.
        while len(self._looks) > 2 and self._looks[1][0] <= now - SPAN_S:
            self._looks.popleft()
        began, messages_then, refused_then = self._looks[0]
        seconds = now - began
        if seconds <= 0:
            return 0.0, 0.0
        return (
            round(max(0, messages - messages_then) / seconds, 1),
            round((self.refused - refused_then) / seconds, 1),
        )

    @property
    def p95_ms(self) -> int | None:
        """How long 95 of 100 of the newest messages lay at most; None before there was any."""
        if not self.waits_ms:
            return None
        ordered = sorted(self.waits_ms)
        return ordered[math.ceil(len(ordered) * 0.95) - 1]
