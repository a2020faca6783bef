"""Moments and spans of time as people type them: `--since 1h`, `--until 2026-01-31T09:30`."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mas_cli.input.durations import parse_duration
from mas_core.errors import UsageError


class TimeRange(NamedTuple):
    """From `since` (included) to `until` (excluded), Unix milliseconds; None is open."""

    since: int | None
    until: int | None


def parse_range(
    since: str | None, until: str | None, *, utc: bool = False, now: datetime | None = None
) -> TimeRange:
    """The span between two moments.

    Raises:
        UsageError: One of them is no moment, or they are in the wrong order.
    """
    span = TimeRange(
        None if since is None else parse_moment(since, "--since", utc=utc, now=now),
        None if until is None else parse_moment(until, "--until", utc=utc, now=now),
    )
    if span.since is not None and span.until is not None and span.since >= span.until:
        raise UsageError(f"--since {since} is not before --until {until}")
    return span


def parse_moment(text: str, name: str = "time", *, utc: bool = False, now: datetime | None = None) -> int:
    """Unix milliseconds from an RFC 3339 time, a date, `now`, `today`, `yesterday`, or how long ago.

    Args:
        text: What was typed. Without an offset it is local time.
        name: The flag that it was typed for.
        utc: Take a time without an offset as UTC.
        now: The present moment.

    Raises:
        UsageError: It is none of these.
    """
    zone = UTC if utc else None
    present = (now or datetime.fromtimestamp(time.time(), UTC)).astimezone(zone)
    midnight = present.replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": present, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    word = text.strip().lower()
    if word in words:
        return _milliseconds(words[word])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        pass
    else:
        return _milliseconds(moment.replace(tzinfo=zone) if moment.tzinfo is None and zone else moment)
    try:
        return _milliseconds(present - timedelta(seconds=parse_duration(text.removeprefix("-"), name)))
    except (UsageError, OverflowError):
        raise UsageError(
            f"{name}: {text!r} is not a time",
            hint=f"{name} 1h, {name} 2026-01-31T09:30:00Z, {name} yesterday",
        ) from None


def parse_coming(
    text: str, name: str = "time", *, utc: bool = False, now: datetime | None = None
) -> datetime:
    """A moment that is still to come: RFC 3339, a date, `tomorrow`, or the next time that it is `HH:MM`.

    Args:
        text: What was typed. Without an offset it is local time.
        name: The flag that it was typed for.
        utc: Take a time without an offset as UTC.
        now: The present moment.

    Raises:
        UsageError: It is none of these, or past.
    """
    zone = UTC if utc else None
    present = (now or datetime.fromtimestamp(time.time(), UTC)).astimezone(zone)
    typed = text.strip().lower()
    try:
        if typed == "tomorrow":
            moment = present.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        elif len(typed) in (4, 5) and ":" in typed:
            clock = datetime.strptime(typed, "%H:%M").time()  # noqa: DTZ007 - it is a time without a date
            moment = present.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
            moment += timedelta(days=moment <= present)
        else:
            moment = datetime.fromisoformat(text.strip())
            moment = moment.replace(tzinfo=zone).astimezone(zone) if moment.tzinfo is None else moment
    except (ValueError, OverflowError):
        raise UsageError(
            f"{name}: {text!r} is not a time",
            hint=f"{name} 2026-01-31T09:30:00Z, {name} 18:30, {name} tomorrow",
        ) from None
    if moment <= present:
        raise UsageError(f"{name}: {text} is past", hint="--after 30s for a time from now on")
    return moment


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
