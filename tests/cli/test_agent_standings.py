"""`mas agent pause|resume|drain|quarantine|evict` on a running system."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def again(mas):
    """Lets agents of the shared system work again after the test."""
    yield
    assert mas("agent", "resume", "calculator", "notebook", "silent", "sleeper").code == 0


def test_a_paused_agent_shows_everywhere_and_comes_back(mas, again):
    """In the list, the description and the status; its messages wait."""
    (row,) = mas("agent", "pause", "notebook", "--reason", "a look", "-o", "json").json
    listed = mas("agent", "list", "--status", "paused", "-o", "json").json
    described = mas("agent", "describe", "notebook", "-o", "json").json
    problems = mas("status", "-o", "json").json["problems"]

    assert (row["done"], row["before"], row["instances"], row["following"]) == (True, "active", 1, 1)
    assert [(item["id"], item["standing"]["reason"]) for item in listed] == [("notebook", "a look")]
    assert described["standing"]["kind"] == "paused"
    assert [item["standing"] for item in described["running_instances"]] == ["paused"]
    assert {
        "message": "the agent notebook is paused: a look",
        "fix": "mas agent resume notebook",
    } in problems
    assert mas("send", "notebook", "note.add").code == 0
    resumed = mas("agent", "resume", "notebook")
    assert resumed.code == 0
    assert mas("agent", "describe", "notebook", "-o", "json").json["status"] == "running"


def test_senders_are_told_what_an_operator_did(mas, again):
    """With exit code 5, the reason and a way back."""
    assert mas("agent", "drain", "calculator", "--reason", "new version").code == 0
    drained = mas("send", "calculator", "text.echo", "-o", "json")
    assert mas("agent", "quarantine", "calculator", "--reason", "evidence").err == (
        "undo with: mas agent resume calculator\n"
    )
    refused = mas("send", "calculator", "text.echo", "-o", "json")

    assert (drained.code, drained.error["code"]) == (5, "backpressure")
    assert drained.error["message"] == "calculator is draining and takes nothing new: new version"
    assert (refused.code, refused.error["code"]) == (5, "quarantined")
    assert "mas agent resume calculator" in refused.error["hint"]


def test_an_eviction_needs_a_reason_and_a_yes(mas):
    """And says what resuming does not bring back."""
    assert mas("agent", "register", "leaky").code == 0

    assert mas("agent", "evict", "leaky", "--yes").code == 2
    assert mas("agent", "evict", "leaky", "--reason", "leaked").code == 2
    assert mas("agent", "evict", "leaky", "--reason", "leaked", "--yes").code == 0

    found = mas("agent", "describe", "leaky", "-o", "json").json
    assert (found["status"], [token["valid"] for token in found["tokens"]]) == ("evicted", [False])
    assert "mas agent token rotate leaky" in mas("agent", "resume", "leaky").err
    assert mas("agent", "deregister", "leaky", "--yes").code == 0


def test_what_is_not_done_in_time_is_told(mas, again):
    """One that cannot finish: exit code 4; beside one that can: 8; and an unknown one changes nothing: 6."""
    assert mas("send", "silent", "wait").code == 0
    one = mas("agent", "drain", "silent", "--timeout", "300ms", "-o", "json")
    two = mas("agent", "drain", "silent", "sleeper", "--timeout", "300ms", "-o", "json")

    assert one.code == 4
    assert one.json[0]["done"] is False
    assert "not finished" in one.json[0]["problem"] or "not confirmed" in one.json[0]["problem"]
    assert [row["done"] for row in two.json] == [False, True]
    assert two.code == 8
    assert mas("agent", "pause", "sleeper", "nobody").code == 6
    assert mas("agent", "list", "--status", "paused", "-o", "name").out == ""
