"""Time as Unix milliseconds, and as the text that people and JSON read."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Local Unix time in milliseconds; decisions use the server's clock instead."""
    return time.time_ns() // 1_000_000


def rfc3339(ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC with milliseconds, such as `2026-01-31T09:30:00.250Z`."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
