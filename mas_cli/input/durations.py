"""Durations as people type them: `30s`, `1h30m`, `250ms`."""

from __future__ import annotations

from mas_core.errors import UsageError
from mas_core.settings.durations import EXAMPLES, seconds_of


def parse_duration(text: str, name: str = "duration") -> float:
    """Seconds from `30s`, `5m`, `1h30m`, `1.5d`, or a plain number of seconds.

    Args:
        text: What was typed.
        name: The flag that it was typed for, to say so in the error.

    Raises:
        UsageError: It is none of these.
    """
    seconds = seconds_of(text)
    if seconds is None:
        raise UsageError(f"{name}: {text!r} is not a duration", hint=EXAMPLES)
    return seconds
