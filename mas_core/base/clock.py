"""Time as Unix milliseconds, and as the text that people and JSON read."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Local Unix time in milliseconds; decisions use the server's clock instead."""
    return time.time_ns() // 1_000_000


class CarriedClock:
    """The clock of somebody else, as last read, carried on by one of ours that nobody can set."""

    def __init__(self) -> None:
        self._ahead_ms = now_ms() - _uptime_ms()

    def set(self, ms: int) -> None:
        """It says this, now, in Unix milliseconds."""
        self._ahead_ms = ms - _uptime_ms()

    def now_ms(self) -> int:
        """What it says by now, in Unix milliseconds."""
        return _uptime_ms() + self._ahead_ms


def rfc3339(ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC with milliseconds, such as `2026-01-31T09:30:00.250Z`."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


# Unlike the monotonic clock it goes on while the machine sleeps, where there is one.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _uptime_ms() -> int:
    return time.clock_gettime_ns(_UPTIME) // 1_000_000
