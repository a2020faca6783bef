"""What is recorded of a command line: what was typed and why, but no secret and no content."""

from __future__ import annotations

import json

import pytest

from mas_cli import app
from mas_cli.input.command_lines import recordable


@pytest.mark.parametrize(
    ("name", "words", "values", "recorded"),
    [
        ("rbac allow", ["a", "b", "--reason", "new team"], {}, "mas rbac allow a b --reason 'new team'"),
        ("state set", ["a", "pin", "4711"], {"value": "4711"}, "mas state set a pin '****'"),
        ("x", ["--url", "redis://me:pw@h/0"], {}, "mas x --url 'redis://me:****@h/0'"),
        ("x", ["--api-key=abc", "--token", "abc", "c"], {}, "mas x '--api-key=****' --token '****' c"),
        ("x", ["--field=a=1"], {"fields": ["a=1"]}, "mas x '--field=****'"),
    ],
)
def test_secrets_and_contents_are_masked(name, words, values, recorded):
    """Passwords in URLs, values of secret flags, and contents of messages and states are masked."""
    assert recordable(name, words, values) == recorded


def records(capsys, *words):
    capsys.readouterr()
    assert app.main(["audit", "list", "--output", "json", "--oldest-first", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_command_is_recorded_with_its_reason(running_project, monkeypatch, capsys):
    """Commands with and without a reason of their own take --reason; hostile text is shown escaped."""
    monkeypatch.chdir(running_project)
    assert app.main(["agent", "register", "reasoned", "--reason", "ticket 7"]) == 0
    assert app.main(["agent", "pause", "reasoned", "--reason", "look \x1b[31m\u202e"]) == 0
    assert app.main(["state", "set", "reasoned", "pin", '"zzsecret"', "--reason", "set up"]) == 0

    found = {}
    while "state.set" not in found:
        rows = records(capsys, "--kind", "operator")
        found = {row["type"]: row for row in rows if row["decision"] == "done"}
    registered, paused = found["agent.register"], found["standing.paused"]
    assert (registered["reason"], registered["target"]) == ("ticket 7", "reasoned")
    assert registered["details"]["command"] == "mas agent register reasoned --reason 'ticket 7'"
    assert "@" in registered["actor"]
    assert paused["reason"].startswith("look ")
    assert "zzsecret" not in json.dumps(rows)
    capsys.readouterr()
    assert app.main(["audit", "list", "--kind", "operator"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


def test_reading_takes_no_reason(running_project, monkeypatch, capsys):
    """A command that changes nothing has no such flag."""
    monkeypatch.chdir(running_project)
    assert app.main(["rbac", "list", "--reason", "curious"]) == 2


def test_s5_questions_to_the_audit_are_recorded(running_project, monkeypatch, capsys):
    """Who asked the audit what is in the audit, before the answer."""
    monkeypatch.chdir(running_project)
    assert app.main(["audit", "list", "--from", "nobody-asked-before"]) == 0
    assert app.main(["audit", "verify"]) == 0

    asked = {}
    while not {"audit.list", "audit.verify"} <= asked.keys():
        asked = {row["type"]: row for row in records(capsys, "--kind", "audit.query")}
    rows = [row for row in records(capsys, "--kind", "audit.query") if row["type"] == "audit.list"]
    (row,) = [row for row in rows if "nobody-asked-before" in row["details"]["command"]]
    assert row["details"]["command"] == "mas audit list --from nobody-asked-before"
    assert (row["decision"], "@" in row["actor"]) == ("asked", True)


def test_other_questions_are_not_recorded(running_project, monkeypatch, capsys):
    """A command that does not read audit records leaves none."""
    monkeypatch.chdir(running_project)
    assert app.main(["rbac", "list"]) == 0
    assert app.main(["agent", "list"]) == 0
    rows = records(capsys, "--kind", "audit.query")
    assert not [
        row for row in rows if "rbac list" in str(row["details"]) or "agent list" in str(row["details"])
    ]
