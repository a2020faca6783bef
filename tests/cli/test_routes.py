"""`mas route` and what is sent to routes, on a running system."""

import pytest


@pytest.fixture(autouse=True)
def inside(running_project, monkeypatch, mas):
    """In the folder of the running project; rules that a test makes are taken away."""
    monkeypatch.chdir(running_project)
    yield
    for found in mas("route", "list", "-o", "json").json:
        mas("route", "remove", found["route"])


def test_a_route_is_made_tried_used_and_taken_away(mas):
    """Each step is in force when it returns (K7)."""
    made = mas("route", "set", "notes", "capability:notes", "--type", "note.*", "--strategy", "best_match")
    assert made.code == 0
    (listed,) = mas("route", "list", "-o", "json").json
    assert listed["to"] == ["capability:notes"]
    assert listed["strategy"] == "best_match"

    (way,) = mas("route", "test", "note.add", "-o", "json").json
    assert (way["agent"], way["route"]) == ("notebook", "notes")
    assert "1 of 1 capabilities" in way["why"]
    assert mas("send", "route:*", "note.add", "-o", "json").json["target"] == "notebook"
    assert mas("send", "route:notes", "note.add", "-o", "json").json["target"] == "notebook"
    assert "routing:" in mas("rbac", "export").out
    assert mas("route", "test", "other.type", "--as", "outsider", "--to", "capability:words").code == 1

    assert mas("route", "remove", "notes", "--dry-run").code == 0
    assert mas("route", "remove", "notes").code == 0
    assert mas("route", "test", "note.add").code == 6
    assert mas("route", "remove", "notes").code == 6


def test_what_makes_no_sense_is_refused_and_a_trial_changes_nothing(mas):
    """Before anything is written."""
    for words, code in (
        (("nowhere", "no-such-agent"), 6),
        (("nowhere", "role:none"), 6),
        (("nowhere", "sleeper", "--strategy", "fastest"), 2),
        (("nowhere", "sleeper", "--strategy", "best_match"), 2),
        (("nowhere", "sleeper", "--key", "/a"), 2),
        (("nowhere", "sleeper", "--weight", "sleeper"), 2),
        (("nowhere", "sleeper", "--dry-run"), 0),
    ):
        assert mas("route", "set", *words).code == code, words
    assert mas("route", "list", "-o", "json").json == []


def test_only_so_many_are_discovered(mas):
    """Those with the least in hand."""
    assert len(mas("discover", "--limit", "2", "-o", "json").json) == 2
