"""`mas policy`, and the files, groups, roles and marks of `mas rbac` and `mas agent`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def kept(mas):
    """The policy is afterwards what it was before."""
    revision = mas("rbac", "history", "--limit", "1", "-o", "json").json[0]["revision"]
    yield revision
    assert mas("rbac", "rollback", str(revision)).code == 0


def test_a_network_is_a_rule_for_each_pair_and_direction(mas, kept):
    """Adding it again adds nothing."""
    made = mas("rbac", "network", "outsider", "silent", "sleeper", "--type", "chat.*", "-o", "json")

    assert made.code == 0
    assert len({(rule["from"], rule["to"]) for rule in made.json}) == 6
    assert "undo with: mas rbac revoke" in mas("rbac", "network", "outsider", "silent").err
    assert mas("rbac", "check", "sleeper", "outsider", "chat.x").code == 0
    assert mas("rbac", "network", "outsider").code == 2
    assert mas("rbac", "network", "outsider", "nobody").code == 6


def test_a_broadcast_is_one_way_and_asks_nothing(mas, kept):
    """Messages to each, no requests, nothing back."""
    assert mas("rbac", "broadcast", "outsider", "silent", "sleeper").code == 0

    assert mas("rbac", "check", "outsider", "sleeper").code == 0
    assert mas("rbac", "check", "outsider", "sleeper", "--action", "request").code == 1
    assert mas("rbac", "check", "sleeper", "outsider").code == 1


def test_a_wildcard_wants_the_name(mas, kept):
    """Without a terminal: a flag with the right name, or nothing happens."""
    refused = mas("rbac", "wildcard", "outsider", "-o", "json")
    wrong = mas("rbac", "wildcard", "outsider", "--confirm", "other")

    assert (refused.code, wrong.code) == (2, 2)
    assert "--confirm outsider" in refused.err
    assert mas("rbac", "check", "outsider", "sleeper").code == 1
    assert mas("rbac", "wildcard", "outsider", "--confirm", "outsider").code == 0
    assert mas("rbac", "check", "outsider", "sleeper").code == 0


def test_a_role_is_made_given_and_taken(mas, kept):
    """With the rules that name it."""
    made = mas("rbac", "role", "create", "auditors", "silent", "--allow", "sleeper", "-o", "json").json
    assert mas("rbac", "role", "assign", "auditors", "outsider").code == 0
    assert mas("rbac", "check", "outsider", "sleeper").code == 0
    assert mas("rbac", "role", "unassign", "auditors", "outsider").code == 0
    assert mas("rbac", "check", "outsider", "sleeper").code == 1

    (row,) = [row for row in mas("rbac", "role", "list", "-o", "json").json if row["role"] == "auditors"]
    assert row == {"role": "auditors", "members": ["silent"], "rules": made["rules"]}
    assert mas("rbac", "role", "create", "auditors").code == 7
    assert mas("rbac", "role", "assign", "nothing", "silent").code == 6
    assert mas("rbac", "role", "unassign", "auditors", "outsider").code == 7


def test_a_block_is_told_and_taken_back(mas):
    """With its rule id, in check, explain and list; a second unblock is a conflict."""
    made = mas("agent", "block", "sleeper", "--reason", "a test", "-o", "json")
    try:
        assert made.json["rule"] == "block:sleeper"
        assert mas("rbac", "check", "operator", "sleeper", "-o", "json").json["rule"] == "block:sleeper"
        assert "try      mas agent unblock sleeper" in mas("rbac", "explain", "operator", "sleeper").out
        assert mas("send", "sleeper", "x", "-o", "json").error["details"]["rule"] == "block:sleeper"
        listed = mas("rbac", "list", "--agent", "sleeper", "-o", "name").out.split()
        assert "block:sleeper" in listed
        effective = mas("rbac", "list", "--agent", "sleeper", "--effective", "-o", "name").out.split()
        assert {"block:sleeper"} <= set(effective) < set(listed) | {"block:sleeper"}
    finally:
        assert mas("agent", "unblock", "sleeper").code == 0
    assert mas("agent", "unblock", "sleeper").code == 7
    assert mas("agent", "block", "nobody").code == 6


def test_trust_opens_and_ends(mas):
    """By its own rule id."""
    assert mas("agent", "trust", "outsider", "--expires", "1h", "-o", "json").json["expires"]
    assert mas("rbac", "check", "outsider", "silent", "-o", "json").json["rule"] == "trust:outsider"
    assert mas("agent", "untrust", "outsider").code == 0
    assert mas("rbac", "check", "outsider", "silent").code == 1


def test_what_is_held_is_neither_yes_nor_no(mas, kept):
    """Exit code 1, and the way out."""
    mas("rbac", "hold", "outsider", "silent")

    ran = mas("rbac", "check", "outsider", "silent")

    assert (ran.code, ran.out) == (1, "held\n")
    assert mas("rbac", "explain", "outsider", "silent").out.startswith("held: rule ")


def test_a_policy_is_exported_changed_compared_applied_and_rolled_back(mas, kept, tmp_path):
    """Each step tells what differs; --exit-code makes it a condition."""
    path = tmp_path / "policy.yaml"
    path.write_text(mas("rbac", "export").out)
    assert mas("rbac", "diff", "--file", str(path), "--exit-code").code == 0
    policy = yaml.safe_load(path.read_text())
    policy["rules"].append({"allow": "sleeper -> silent"})
    path.write_text(yaml.safe_dump(policy))

    differing = mas("rbac", "diff", "--file", str(path), "--exit-code", "-o", "json")
    would = mas("rbac", "apply", "--file", str(path), "--dry-run", "--exit-code", "-o", "json")
    assert (differing.code, would.code) == (1, 1)
    assert [row["after"] for row in differing.json] == ["allow sleeper -> silent *"]
    assert mas("rbac", "check", "sleeper", "silent").code == 1
    applied = mas("rbac", "apply", "--file", str(path))
    assert applied.code == 0
    assert mas("rbac", "check", "sleeper", "silent").code == 0
    back = applied.err.split("mas rbac rollback ")[1].split()[0]
    assert mas("rbac", "rollback", back, "--dry-run", "-o", "json").json[0]["change"] == "removed"
    assert mas("rbac", "diff", back, "--exit-code").code == 1
    assert mas("rbac", "rollback", back).code == 0
    assert mas("rbac", "check", "sleeper", "silent").code == 1
    newest = mas("rbac", "history", "-o", "json").json[0]
    assert newest["change"] == f"roll back to revision {back}"
    assert "@" in newest["by"]


def test_pruning_asks_first(mas, kept, tmp_path):
    """Without a terminal and without a flag nothing goes."""
    path = tmp_path / "policy.yaml"
    path.write_text("rules: []\n")

    refused = mas("rbac", "apply", "--file", str(path), "--prune", "-o", "json")

    assert refused.code == 2
    assert "--confirm" in refused.err
    assert mas("rbac", "check", "operator", "silent").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("rbac", "apply"),
        ("rbac", "apply", "--file", "missing.yaml"),
        ("rbac", "diff"),
        ("policy", "test"),
        ("policy", "set", "audit", "off"),
        ("policy", "set", "dlp", "maybe"),
        ("policy", "simulate"),
        ("policy", "shadow", "set", "--file", "missing.yaml"),
    ],
)
def test_what_cannot_be_is_an_error(mas, words):
    """Of usage, with nothing on standard output."""
    ran = mas(*words, "-o", "json")

    assert (ran.code, ran.out) == (2, "")
    assert mas("rbac", "rollback", "99999").code == 6


def test_p12_switches_are_shown_and_set(mas, kept):
    """And the history says so."""
    assert mas("policy", "set", "rbac", "off", "--dry-run", "-o", "json").json[0]["value"] == "off"
    assert mas("rbac", "check", "outsider", "silent").code == 1
    assert mas("policy", "set", "rbac", "off").code == 0

    assert mas("rbac", "check", "outsider", "silent").code == 0
    assert "switched off" in mas("rbac", "list").err
    shown = {row["feature"]: row for row in mas("policy", "features", "-o", "json").json}
    assert shown["rbac"] == {"feature": "rbac", "value": "off", "set_by": "command"}
    assert mas("rbac", "history", "--limit", "1", "-o", "json").json[0]["change"] == "rbac: off"


def test_a_switch_that_is_left_to_the_files_is_as_they_say_at_once(mas, kept):
    """Not only from the next start on: who switches the scan back to the files has it."""
    for name, said in (("message_signing", "off"), ("dlp", "on")):
        other = "on" if said == "off" else "off"
        assert mas("policy", "set", name, other).code == 0
        tried = mas("policy", "set", name, "file", "--dry-run", "-o", "json").json
        assert mas("policy", "set", name, "file").code == 0

        shown = {row["feature"]: row for row in mas("policy", "features", "-o", "json").json}
        assert [shown[name]] == tried == [{"feature": name, "value": said, "set_by": "file"}]


def test_names_and_types_that_cannot_be_are_told_apart_from_unknown_ones(mas):
    """A pattern over names is no agent that could be registered."""
    for words in (
        ("rbac", "allow", "out*", "silent"),
        ("rbac", "explain", "outsider", "silent", "bad type"),
        ("rbac", "check", "outsider", "silent", "bad type"),
    ):
        ran = mas(*words, "-o", "json")
        assert ran.code == 2
        assert json.loads(ran.err)["error"]["code"] == "invalid_identifier"
        assert "register" not in ran.err


def test_a_file_that_changes_nothing_says_so(mas, tmp_path):
    """As does a rollback; the table is empty."""
    path = tmp_path / "policy.yaml"
    path.write_text(mas("rbac", "export").out)
    revision = mas("rbac", "history", "--limit", "1", "-o", "json").json[0]["revision"]

    assert mas("rbac", "apply", "--file", str(path)) == (0, "", "nothing changed\n")
    assert mas("rbac", "apply", "--file", str(path), "--dry-run").err == "nothing would change\n"
    assert mas("rbac", "rollback", str(revision)).err == "nothing changed\n"


def test_cases_are_tried_against_the_policy_in_force_or_a_file(mas, tmp_path, monkeypatch):
    """Exit code 1 when one differs; a file needs no server."""
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        "cases:\n  - {from: operator, to: silent, expect: allowed, rule: r1}\n"
        "  - {from: outsider, to: silent, expect: denied}\n"
    )
    assert mas("policy", "test", "--file", str(cases)).code == 0
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules: [{allow: outsider -> silent}]\n")
    monkeypatch.chdir(tmp_path)

    ran = mas("policy", "test", "--file", str(cases), "--policy", str(policy), "-o", "json")

    assert ran.code == 1
    assert [(row["result"], row["decision"]) for row in ran.json] == [
        ("differs", "denied"),
        ("differs", "allowed"),
    ]


def test_recorded_messages_are_simulated_and_shadowed(mas, tmp_path):
    """What would change is counted by sender, target and type; exit code 1 when something would."""
    strict = tmp_path / "strict.yaml"
    strict.write_text("rules: [{allow: operator -> calculator}]\n")
    same = tmp_path / "same.yaml"
    same.write_text(mas("rbac", "export").out)
    assert mas("policy", "shadow", "set", "--file", str(strict)).code == 0
    assert mas("send", "silent", "rehearsed.once").code == 0

    simulated = mas("policy", "simulate", "--file", str(strict), "--since", "1h", "-o", "json")
    report = mas("policy", "shadow", "report", "-o", "json")
    assert mas("policy", "shadow", "clear").code == 0

    wanted = {"from": "operator", "to": "silent", "type": "rehearsed.once", "count": 1}
    (row,) = [row for row in simulated.json if row["type"] == "rehearsed.once"]
    assert wanted.items() <= row.items()
    assert (row["recorded"], row["simulated"]) == ("allowed", "denied")
    (seen,) = [row for row in report.json if row["type"] == "rehearsed.once"]
    assert {**wanted, "present": "allowed", "shadow": "denied", "rule": None} == seen
    assert (simulated.code, report.code) == (1, 1)
    assert json.loads(mas("audit", "list", "--to", "silent", "--limit", "1", "-o", "json").out)
    agreed = mas("policy", "simulate", "--file", str(same), "--since", "1m", "-o", "json")
    assert [row for row in agreed.json if row["type"] == "rehearsed.once"] == []


def test_a_bound_capability_is_listed_and_freed(mas):
    """By its pattern."""
    assert mas("rbac", "capability", "bind", "surgery.*", "silent").code == 0
    rows = mas("rbac", "capability", "list", "-o", "json").json
    assert {"capability": "surgery.*", "only": ["silent"]} in rows

    assert mas("rbac", "capability", "free", "surgery.*").code == 0
    assert mas("rbac", "capability", "free", "surgery.*").code == 7
