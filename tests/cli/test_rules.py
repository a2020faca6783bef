"""`mas rbac` on a running system."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def added(mas):
    """Adds rules that go again after the test."""
    made: list[str] = []

    def add(*words: str) -> list[dict[str, object]]:
        ran = mas("rbac", *words, "-o", "json")
        assert ran.code == 0
        made.extend(rule["id"] for rule in ran.json if rule["change"] == "added")
        return ran.json

    yield add
    left = set(mas("rbac", "list", "-o", "name").out.split())
    gone = [rule for rule in made if rule in left]
    assert not gone or mas("rbac", "revoke", *gone).code == 0


def test_a_rule_counts_when_the_command_returns(mas, added):
    """Allow, check, revoke, check."""
    assert mas("rbac", "check", "outsider", "silent", "x.y").code == 1

    (rule,) = added("allow", "outsider", "silent", "--type", "x.*", "--reason", "a test")

    assert {
        "effect": "allow",
        "from": "outsider",
        "to": "silent",
        "type": "x.*",
        "change": "added",
    }.items() <= (rule.items())
    assert mas("rbac", "check", "outsider", "silent", "x.y")[:2] == (0, "yes\n")
    assert mas("rbac", "revoke", rule["id"]).code == 0
    assert mas("rbac", "check", "outsider", "silent", "x.y")[:2] == (1, "no\n")


def test_the_same_rule_is_there_once(mas, added):
    """Saying it again adds nothing and is no error."""
    (first,) = added("allow", "outsider", "silent")
    (again,) = added("allow", "outsider", "silent")

    assert (again["id"], again["change"]) == (first["id"], "was there")


def test_deny_wins(mas, added):
    """Whatever is allowed."""
    added("deny", "operator", "silent", "--type", "x.y")

    assert mas("rbac", "check", "operator", "silent", "x.y").code == 1
    assert mas("rbac", "check", "operator", "silent", "x.z").code == 0
    assert mas("send", "silent", "x.y", "-o", "json").error["code"] == "forbidden"


def test_both_directions_and_many_targets(added):
    """A rule each."""
    rules = added("allow", "outsider", "silent", "sleeper", "--both", "--action", "request")

    assert {(rule["from"], rule["to"], rule["action"]) for rule in rules} == {
        ("outsider", "silent", "request"),
        ("outsider", "sleeper", "request"),
        ("silent", "outsider", "request"),
        ("sleeper", "outsider", "request"),
    }


def test_an_action_is_asked_apart(mas, added):
    """A rule for requests does not let messages through."""
    added("allow", "outsider", "silent", "--action", "request")

    assert mas("rbac", "check", "outsider", "silent", "--action", "request").code == 0
    assert mas("rbac", "check", "outsider", "silent").code == 1


def test_a_rule_can_end_by_itself(mas, added):
    """With the time told; in the list it is marked, so that nobody takes it for one that counts."""
    (rule,) = added("allow", "outsider", "silent", "--expires", "250ms")

    assert rule["expires"] > rule["created"]

    def listed():
        return {item["id"]: item["state"] for item in mas("rbac", "list", "-o", "json").json}

    while listed()[rule["id"]] != "ended":
        pass
    assert "in force" in listed().values()
    assert "ended" in mas("rbac", "list").out
    assert rule["id"] not in {item["id"] for item in mas("rbac", "list", "--effective", "-o", "json").json}


def test_a_dry_run_changes_nothing(mas):
    """It tells what would be."""
    before = mas("rbac", "list", "-o", "json").json

    would = mas("rbac", "deny", "*", "silent", "--dry-run", "-o", "json")
    gone = mas("rbac", "revoke", "r1", "--dry-run", "-o", "json")

    assert [rule["change"] for rule in (*would.json, *gone.json)] == ["would add", "would remove"]
    assert before == mas("rbac", "list", "-o", "json").json


def test_an_undo_is_a_command(mas, added):
    """What revoke says makes the same rule again."""
    (rule,) = added(
        "allow", "outsider", "silent", "--type", "a.*", "--action", "send", "--reason", "it's ours"
    )

    told = mas("rbac", "revoke", rule["id"]).err

    assert (
        told
        == "undo with: mas rbac allow outsider silent --type 'a.*' --action send --reason 'it'\"'\"'s ours'\n"
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("check", "outsider", "nobody"), 6),
        (("check", "nobody", "outsider"), 6),
        (("explain", "outsider", "nobody"), 6),
        (("allow", "outsider", "nobody"), 6),
        (("allow", "outsider", "role:none"), 6),
        (("allow", "outsider", "silent", "--type", "a b"), 2),
        (("allow", "outsider", "silent", "--action", "fly"), 2),
        (("check", "outsider", "silent", "--action", "fly"), 2),
        (("revoke", "r1", "r99999"), 6),
        (("list", "--agent", "nobody"), 6),
    ],
)
def test_what_cannot_be_is_an_error(mas, words, code):
    """And changes nothing: of two rules, of which one is missing, both stay."""
    before = mas("rbac", "list", "-o", "json").json

    ran = mas("rbac", *words, "-o", "json")

    assert (ran.code, ran.out) == (code, "")
    assert before == mas("rbac", "list", "-o", "json").json


def test_a_denial_is_explained(mas):
    """With the rule that comes closest and the command that changes it."""
    ran = mas("rbac", "explain", "outsider", "notebook", "other.type")

    assert ran.code == 1
    assert ran.out.startswith("no: no rule allows it")
    assert "closest  r3 allow outsider -> notebook note.*, which is for type note.*" in ran.out
    assert "try      mas rbac allow outsider notebook --type other.type\n" in ran.out


def test_a_permission_is_explained(mas):
    """With the rule that gives it."""
    ran = mas("rbac", "explain", "outsider", "notebook", "note.add", "-o", "json")

    assert (ran.code, ran.json["allowed"], ran.json["rule"]["id"], ran.json["fix"]) == (0, True, "r3", [])


def test_rules_are_listed_for_one_agent(mas):
    """By name or for everybody."""
    everything = mas("rbac", "list", "-o", "name").out.split()

    assert everything[:2] == ["r1", "r2"]
    found = mas("rbac", "list", "--agent", "sleeper", "-o", "json").json
    assert "r1" in [rule["id"] for rule in found]
    assert all("sleeper" in (rule["from"], rule["to"]) or "*" in (rule["from"], rule["to"]) for rule in found)
    assert len(found) < len(everything)
