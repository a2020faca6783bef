"""Durations as people write them: `30s`, `1h30m`, `250ms`."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")

EXAMPLES = "durations look like 250ms, 30s, 5m, 1h30m or 7d"


def seconds_of(text: str) -> float | None:
    """Seconds from `30s`, `5m`, `1h30m`, `1.5d`, or a plain number of seconds; None when it is none of these."""
    compact = text.replace(" ", "").lower()
    if _PLAIN.fullmatch(compact):
        return float(compact)
    if _WHOLE.fullmatch(compact):
        return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(compact))
    return None
