"""Priorities 0 to 10, their names, and the lane that each travels in."""

from __future__ import annotations

from typing import Final, Literal

from mas_core.errors import UsageError

Lane = Literal["high", "normal", "low"]

LANES: Final[tuple[Lane, ...]] = ("high", "normal", "low")

PRIORITY_NAMES: Final = {"critical": 10, "high": 8, "normal": 5, "medium": 5, "low": 2, "bulk": 0}

LANE_WEIGHTS: Final[dict[str, int]] = {"high": 8, "normal": 3, "low": 1}
"""How many messages of each lane are served in one round when all of them have plenty.

So the lowest lane gets at least one message in twelve, whatever the others send: 8.3 % of any long run.
"""

NORMAL: Final = PRIORITY_NAMES["normal"]


def parse_priority(value: int | str) -> int:
    """A priority from a number 0 to 10 or one of the names critical, high, normal, medium, low, bulk.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(value, str) and value in PRIORITY_NAMES:
        return PRIORITY_NAMES[value]
    try:
        number = int(value)
    except ValueError:
        number = -1
    if not 0 <= number <= 10:
        raise UsageError(
            f"{value!r} is not a priority", hint=f"use 0 to 10 or one of {', '.join(PRIORITY_NAMES)}"
        )
    return number


def lane_of(priority: int) -> Lane:
    """The lane of a priority: 7 to 10 high, 3 to 6 normal, 0 to 2 low."""
    if priority >= 7:
        return "high"
    return "normal" if priority >= 3 else "low"
