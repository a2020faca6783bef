"""Durations, times, selectors and pairs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mas_cli.input.durations import parse_duration
from mas_cli.input.selectors import matches_all, parse_pair, parse_selectors
from mas_cli.input.time_ranges import parse_moment, parse_range
from mas_core.errors import UsageError

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("1.5d", 129600), ("7", 7), ("1h 5s", 3605)],
)
def test_durations_are_read(text, seconds):
    """Units add up; a plain number is seconds."""
    assert seconds == pytest.approx(parse_duration(text))


@pytest.mark.parametrize("text", ["", "5x", "-5s", "s", "1h-", "inf", "nan", "1e3", "5 parsecs"])
def test_other_durations_are_refused(text):
    """The error names the flag that it was typed for."""
    with pytest.raises(UsageError, match="--ttl"):
        parse_duration(text, "--ttl")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31T09:30:00.250+01:00", datetime(2026, 1, 31, 8, 30, 0, 250_000, tzinfo=UTC)),
        ("2026-01-30", datetime(2026, 1, 30, tzinfo=UTC)),
        ("1h30m", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
        ("-1h30m", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
        ("now", NOW),
        ("today", datetime(2026, 1, 31, tzinfo=UTC)),
        ("yesterday", datetime(2026, 1, 30, tzinfo=UTC)),
    ],
)
def test_moments_are_read(text, moment):
    """Times, dates, words, and how long ago."""
    assert int(moment.timestamp() * 1000) == parse_moment(text, utc=True, now=NOW)


def test_a_time_without_offset_is_local(monkeypatch):
    """Local time unless --utc says otherwise."""
    local = datetime(2026, 1, 31, 9, 30).astimezone()

    assert int(local.timestamp() * 1000) == parse_moment("2026-01-31T09:30", now=NOW)


@pytest.mark.parametrize("text", ["soon", "31.01.2026", "", "99999999999d"])
def test_other_moments_are_refused(text):
    """What is no time is an error with examples."""
    with pytest.raises(UsageError, match="--since"):
        parse_moment(text, "--since", now=NOW)


def test_a_range_in_the_wrong_order_is_refused():
    """--since has to be before --until."""
    assert parse_range(None, None) == (None, None)

    with pytest.raises(UsageError):
        parse_range("1h", "2h", now=NOW)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("zone=eu", True),
        ("zone==eu", True),
        ("zone!=us", True),
        ("tier!=free", True),
        ("gpu", True),
        ("!tier", True),
        ("gpu=true", True),
        ("zone=eu,gpu", True),
        ("zone=us", False),
        ("!gpu", False),
        ("tier", False),
        ("zone=eu,tier", False),
    ],
)
def test_selectors_choose_by_metadata(text, matches):
    """Equal, different, there, not there; all at once."""
    assert matches is matches_all(parse_selectors([text]), {"zone": "eu", "gpu": True})


@pytest.mark.parametrize("text", ["=eu", "a b=c", "!a=b", "zone~eu"])
def test_other_selectors_are_refused(text):
    """What has no form of a condition is an error."""
    with pytest.raises(UsageError):
        parse_selectors([text])


def test_a_pair_needs_a_key():
    """key=value keeps further `=` in the value."""
    assert parse_pair("a=b=c", "-F") == ("a", "b=c")

    with pytest.raises(UsageError, match="-F"):
        parse_pair("=b", "-F")
