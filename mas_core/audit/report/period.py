"""The span of time that a report covers, as people type it; days are days of UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from mas_core.base.clock import rfc3339
from mas_core.errors import UsageError
from mas_core.settings.durations import seconds_of

EXAMPLES = "30d, 2026-Q3, 2026-11, 2026, 2026-11-21 or 2026-01-01..2026-03-31"

_NAMED = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(\d{2})(?:-(\d{2}))?))?", re.IGNORECASE)
_DAY = timedelta(days=1)


class Period(NamedTuple):
    """From `since` (included) to `until` (excluded), Unix milliseconds."""

    text: str
    """As it was asked for."""
    since: int
    until: int

    @property
    def days(self) -> float:
        """How long it is."""
        return (self.until - self.since) / 86_400_000

    def __str__(self) -> str:
        return f"{rfc3339(self.since)} to {rfc3339(self.until)}"


def parse_period(text: str, now: int) -> Period:
    """The span that `text` names.

    Args:
        text: How long back from now (`30d`); a year, quarter, month or day; or `A..B`, where each side is one
            of these or an RFC 3339 time, and a side that is a day or longer is inside with all of it.
        now: The present moment, Unix milliseconds.

    Raises:
        UsageError: It is none of these, or ends before it begins.
    """
    compact = text.strip()
    try:
        if ".." in compact:
            first, _, last = compact.partition("..")
            since, until = _span(first)[0], _span(last)[1]
        elif (seconds := seconds_of(compact)) and not compact.isdecimal():
            since, until = now - int(seconds * 1000), now
        else:
            since, until = _span(compact)
        period = Period(compact, since, until)
        str(period)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"--period: {text!r} is no period", hint=f"write {EXAMPLES}") from None
    if since >= until:
        raise UsageError(f"--period: {text!r} ends before it begins", hint=f"write {EXAMPLES}")
    return period


def _span(text: str) -> tuple[int, int]:
    """Begin and end of what one side of a period names."""
    found = _NAMED.fullmatch(text.strip())
    if found is None:
        moment = datetime.fromisoformat(text.strip())
        at = _milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        return at, at
    year, quarter, month, day = (int(part) if part else 0 for part in found.groups())
    if quarter:
        return _months(year, quarter * 3 - 2, 3)
    if day:
        begin = date(year, month, day)
        return _midnight(begin), _midnight(begin + _DAY)
    return _months(year, month, 1) if found[3] else _months(year, 1, 12)


def _months(year: int, month: int, count: int) -> tuple[int, int]:
    months = year * 12 + month - 1 + count
    return _midnight(date(year, month, 1)), _midnight(date(months // 12, months % 12 + 1, 1))


def _midnight(day: date) -> int:
    return _milliseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
