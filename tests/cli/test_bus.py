"""`mas bus` on a running system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def waiting(mas) -> str:
    """Id of a message that waits for an agent that does not run."""
    return mas("send", "sleeper", "text.note", '{"secret": "tulip"}', "-o", "json").json["id"]


def test_status_tells_what_waits_and_how_fast_it_moves(mas, waiting):
    """Rates come from two looks; without them their columns are not there."""
    (row,) = mas("bus", "status", "--agent", "sleeper", "--over", "50ms", "-o", "json").json
    assert row["waiting"] >= 1
    assert (row["in_hand"], row["consumers"], row["in_s"], row["out_s"]) == (0, 0, 0, 0)
    assert row["lag"] is None
    assert row["lanes"]["normal"]["waiting"] == row["waiting"]

    assert "IN/S" in mas("bus", "status", "--over", "50ms").out
    assert "IN/S" not in mas("bus", "status", "--over", "0").out
    lanes = mas("bus", "status", "--agent", "sleeper", "--lanes", "-o", "json").json
    assert [row["lane"] for row in lanes] == ["high", "normal", "low"]


def test_watching_tells_what_changes(mas, waiting):
    """A line for each queue first, and then for those that changed."""
    ran = mas("bus", "status", "--agent", "sleeper", "--watch=50ms", "--count", "1", "-o", "jsonl")
    assert json.loads(ran.out)["agent"] == "sleeper"

    quiet = mas("bus", "status", "--agent", "sleeper", "--watch=20ms", "--for", "400ms", "-o", "jsonl")
    # The rates of the second look differ from none.
    assert 1 <= len(quiet.out.splitlines()) <= 2
    assert mas("bus", "status", "--count", "1").code == 2


def test_inspecting_shows_payloads_only_when_asked(mas, waiting):
    """And that they were looked at is recorded."""
    plain = mas("bus", "inspect", "sleeper", "-o", "json")
    row = next(row for row in plain.json if row["id"] == waiting)
    assert (row["state"], row["type"], row["from"], row["lane"]) == (
        "waiting",
        "text.note",
        "operator",
        "normal",
    )
    assert row["consumer"] is None
    assert "tulip" not in plain.out

    whole = mas("bus", "inspect", "sleeper", "--payload", "-o", "json").json
    assert next(row for row in whole if row["id"] == waiting)["payload"] == {"secret": "tulip"}
    asked = mas("audit", "list", "--kind", "audit.query", "-o", "json").json
    assert any("bus.inspect" in json.dumps(record) for record in asked)


def test_inspecting_is_cut_where_asked(mas, waiting):
    """By count, lane and idle time; what is cut is said."""
    mas("send", "sleeper", "text.note")
    cut = mas("bus", "inspect", "sleeper", "--limit", "1", "-o", "json")
    assert len(cut.json) == 1
    assert "only 1 are shown" in cut.err
    assert mas("bus", "inspect", "sleeper", "--lane", "high", "-o", "json").json == []
    assert mas("bus", "inspect", "sleeper", "--pending", "-o", "json").json == []
    assert mas("bus", "inspect", "sleeper", "--idle", "1h", "-o", "json").json == []
    assert mas("bus", "inspect", "sleeper", "--lane", "slow").code == 2


def test_an_agent_that_is_not_there(mas):
    """Exit code 6, not an empty list."""
    assert mas("bus", "inspect", "nobody").code == 6
    assert mas("bus", "status", "--agent", "nobody").code == 6


def test_trimming_asks_tells_and_can_be_undone(mas, waiting):
    """A dry run changes nothing, no answer is exit code 2, and what went is a dead letter."""
    before = mas("bus", "inspect", "sleeper", "-o", "json").json
    plan = mas("bus", "trim", "sleeper", "--keep", "0", "--dry-run", "-o", "json")
    assert plan.json["messages"] == len(before)
    assert mas("bus", "trim", "sleeper", "--keep", "0").code == 2
    assert mas("bus", "trim", "sleeper", "--yes").code == 2
    assert mas("bus", "trim", "sleeper", "--keep", "-1", "--yes").code == 2
    assert mas("bus", "trim", "nobody", "--keep", "0", "--yes").code == 6
    assert mas("bus", "inspect", "sleeper", "-o", "json").json[0]["id"] == before[0]["id"]

    done = mas("bus", "trim", "sleeper", "--keep", "0", "--yes", "--reason", "of no use")
    assert done.code == 0, done.err
    assert "mas dlq retry --all --agent sleeper --code trimmed" in done.err
    letter = mas("dlq", "get", waiting, "-o", "json").json
    assert (letter["code"], letter["agent"]) == ("trimmed", "sleeper")
    assert "of no use" in letter["reason"]
    assert mas("bus", "inspect", "sleeper", "-o", "json").json == []

    ids = [row["id"] for row in mas("dlq", "list", "--agent", "sleeper", "-o", "json").json]
    assert mas("dlq", "retry", *ids, "--reason", "after all").code == 0
    assert mas("bus", "inspect", "sleeper", "-o", "json").json


def test_claiming_needs_somebody_who_takes_over(mas):
    """An agent without instances has nothing in hand; one that is not there is exit code 6."""
    assert mas("bus", "claim", "sleeper", "--idle", "1s", "-o", "json").json == []
    assert mas("bus", "claim", "nobody").code == 6
    mas("send", "silent", "wait")
    for _ in range(200):
        if mas("bus", "inspect", "silent", "--pending", "-o", "json").json:
            break
    alone = mas("bus", "claim", "silent", "--idle", "0s", "-o", "json")
    assert (alone.code, alone.error["code"]) == (7, "conflict")
