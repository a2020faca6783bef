"""`mas send --at`, `--after` and `--delivery`, and `mas schedule`, on a running system."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mas_cli.input.time_ranges import parse_coming
from mas_core.errors import UsageError


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def scheduled(mas):
    """Sends a message for later; what still waits after the test is cancelled."""

    def send(*words: str) -> dict:
        ran = mas("send", "sleeper", "later.test", '{"n":1}', *words, "-o", "json")
        assert (ran.code, ran.json["decision"]) == (0, "scheduled")
        return ran.json

    yield send
    left = mas("schedule", "cancel", "--all", "--confirm", "demo")
    assert left.code == 0


def test_scheduled_messages_are_listed_shown_and_cancelled(mas, scheduled):
    """With what there is to know before they are due; the payload only on demand."""
    at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    first = scheduled("--after", "1h", "--delivery", "exactly-once", "--id", "order-17")
    second = scheduled("--at", at.isoformat(), "--ttl", "30s")

    rows = mas("schedule", "list", "-o", "json").json
    shown = mas("schedule", "get", "order-17", "-o", "json").json
    whole = mas("schedule", "get", second["id"], "--payload", "-o", "json").json
    dry = mas("schedule", "cancel", "order-17", "--dry-run", "-o", "json")
    unsure = mas("schedule", "cancel", "order-17")
    done = mas("schedule", "cancel", "order-17", "--yes", "--reason", "sold out", "-o", "json")
    again = mas("schedule", "cancel", "order-17", "--yes", "-o", "json")

    assert [row["id"] for row in rows] == ["order-17", second["id"]]
    assert (rows[0]["from"], rows[0]["to"], rows[0]["state"]) == ("operator", "sleeper", "waiting")
    assert (shown["delivery"], shown["due"]) == ("exactly_once", first["deliver_at"])
    assert "payload" not in shown
    assert (whole["payload"], whole["due"]) == ({"n": 1}, at.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    assert (dry.code, dry.json[0]["result"], unsure.code) == (0, "would cancel", 2)
    assert (done.code, done.json[0]["result"]) == (0, "cancelled")
    assert again.code == 6
    assert [row["id"] for row in mas("schedule", "list", "-o", "json").json] == [second["id"]]
    records = mas("audit", "get", "order-17", "-o", "json").json
    last = max(records, key=lambda found: found["seq"])
    assert (last["kind"], last["reason"]) == ("schedule.cancelled", "sold out")


def test_a_person_is_told_when_it_comes_and_how_to_stop_it(mas, scheduled):
    """On standard error, beside the receipt."""
    del scheduled
    dry = mas("send", "sleeper", "later.test", "--after", "10m", "--dry-run")
    ran = mas("send", "sleeper", "later.test", "--after", "10m")

    assert (dry.code, "it would be scheduled: " in dry.err) == (0, True)
    assert ran.code == 0
    assert "it is delivered at 20" in ran.err
    assert "mas schedule cancel " in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("--at", "tomorrow", "--after", "1h"),
        ("--at", "2020-01-01"),
        ("--at", "soon"),
        ("--after", "0s"),
        ("--after", "soon"),
        ("--delivery", "twice"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(mas, words):
    """Before anything is sent."""
    assert mas("send", "sleeper", "later.test", *words).code == 2


def test_which_messages_has_to_be_said(mas):
    """By ids or by options, not both and not neither."""
    assert mas("schedule", "cancel").code == 2
    assert mas("schedule", "cancel", "m1", "--all").code == 2
    assert mas("schedule", "get", "nobody").code == 6


def test_times_to_come_as_people_type_them():
    """The next time that it is so late; a date begins at midnight; what is past is no time to come."""
    now = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)

    def at(text):
        return parse_coming(text, "--at", utc=True, now=now).isoformat()

    assert at("18:30") == "2026-11-21T18:30:00+00:00"
    assert at("9:05") == "2026-11-22T09:05:00+00:00"
    assert at("18:00") == "2026-11-22T18:00:00+00:00"
    assert at("tomorrow") == "2026-11-22T00:00:00+00:00"
    assert at("2026-12-24") == "2026-12-24T00:00:00+00:00"
    assert at("2026-11-21T20:00+01:00") == "2026-11-21T20:00:00+01:00"
    for wrong in ("2026-11-21T18:00Z", "25:00", "", "1h", "9999-99-99"):
        with pytest.raises(UsageError):
            at(wrong)
