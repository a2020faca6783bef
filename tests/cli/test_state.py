"""`mas state` on a running system."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from support.running_system import HOSTILE


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def kept(mas):
    """An agent with a known state, which is not running."""
    state = {"notes": [{"text": "first"}, {"text": "second"}], "limit": 20, "on": True, "none": {}}
    assert mas("state", "set", "sleeper", ".", json.dumps(state)).code == 0
    return state


def test_who_changes_a_state_is_told_when_it_is_seen(mas, kept):
    """What runs has the old one in its memory."""
    assert "with the next change" in mas("state", "set", "sleeper", "limit", "21").err
    assert "with the next change" in mas("state", "reset", "sleeper", "--yes").err


def test_a_state_is_listed_by_path(mas, kept):
    """For people; JSON is the value itself."""
    table = mas("state", "get", "sleeper").out

    assert [line.split() for line in table.splitlines()] == [
        ["PATH", "VALUE"],
        ["notes.0.text", "first"],
        ["notes.1.text", "second"],
        ["limit", "20"],
        ["on", "true"],
        ["none", "{}"],
    ]
    assert mas("state", "get", "sleeper", "-o", "json").json == kept


@pytest.mark.parametrize(("path", "out"), [("notes.1.text", "second\n"), ("limit", "20\n"), ("on", "true\n")])
def test_one_value_can_be_had_bare(mas, kept, path, out):
    """For scripts."""
    assert mas("state", "get", "sleeper", path, "--raw") == (0, out, "")


def test_the_revision_can_be_had_too(mas, kept):
    """To set something only if nobody else did."""
    found = mas("state", "get", "sleeper", "limit", "--revision", "-o", "json").json

    changed = mas("state", "set", "sleeper", "limit", "21", "--if-revision", str(found["revision"]))
    late = mas(
        "state", "set", "sleeper", "limit", "22", "--if-revision", str(found["revision"]), "-o", "json"
    )

    assert changed.code == 0
    assert (late.code, late.error["code"]) == (7, "state_changed")
    assert mas("state", "get", "sleeper", "limit", "--raw").out == "21\n"


def test_setting_tells_what_was_and_how_to_undo(mas, kept):
    """The command that it names restores the value."""
    ran = mas("state", "set", "sleeper", "notes.0.text", '"it\'s new"', "-o", "json")

    assert (ran.json["before"], ran.json["after"]) == ("first", "it's new")
    assert "undo with: mas state set sleeper notes.0.text '\"first\"' --if-revision" in ran.err


def test_objects_on_the_way_are_made(mas, kept):
    """A value from a file at a path that is not there."""
    Path("value.json").write_text('{"deep": [1]}')

    assert mas("state", "set", "sleeper", "a.b", "@value.json").code == 0
    assert mas("state", "get", "sleeper", "a.b.deep.0", "--raw").out == "1\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("get", "nobody"), 6),
        (("get", "sleeper", "no.such"), 6),
        (("get", "sleeper", "notes.9"), 6),
        (("get", "sleeper", "notes", "--raw"), 2),
        (("set", "nobody", "a", "1"), 6),
        (("set", "sleeper", "a", "bare words"), 2),
        (("set", "sleeper", "a", '{"b":1,"b":2}'), 2),
        (("set", "sleeper", "limit.x", "1"), 2),
        (("set", "sleeper", "notes.7", "1"), 2),
        (("set", "sleeper", ".", "[]"), 2),
        (("reset", "nobody", "--yes"), 6),
    ],
)
def test_what_cannot_be_is_an_error(mas, kept, words, code):
    """With nothing on standard output, and nothing changed."""
    ran = mas("state", *words, "-o", "json")

    assert (ran.code, ran.out, ran.error["exit"]) == (code, "", code)
    assert mas("state", "get", "sleeper", "-o", "json").json == kept


def test_a_reset_leaves_a_private_backup(mas, kept):
    """Written before, named, readable by the owner alone, and enough to undo it."""
    ran = mas("state", "reset", "sleeper", "--yes", "-o", "json")

    backup = Path(ran.json[0]["backup"])
    assert mas("state", "get", "sleeper", "-o", "json").json == {}
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(backup.parent.stat().st_mode) == 0o700
    assert json.loads(backup.read_text()) == kept
    _, undo = [line.removeprefix("undo with: mas ") for line in ran.err.splitlines()]
    assert mas(*undo.split()).code == 0
    assert mas("state", "get", "sleeper", "-o", "json").json == kept


def test_several_resets_take_a_name(mas, kept):
    """--yes is not enough for many; nothing is changed without the name."""
    ran = mas("state", "reset", "sleeper", "silent", "--yes")

    assert ran.code == 2
    assert "the state of sleeper" in ran.err
    assert "--confirm demo" in ran.err
    assert mas("state", "get", "sleeper", "-o", "json").json == kept
    assert mas("state", "reset", "sleeper", "silent", "--confirm", "demo", "-q").code == 0
    assert mas("state", "get", "sleeper", "-o", "json").json == {}


def test_hostile_state_does_nothing_to_a_terminal(mas, kept):
    """Shown as symbols or escaped; in a pipe --raw gives the very text."""
    assert mas("state", "set", "sleeper", "limit", json.dumps(HOSTILE)).code == 0

    for format_ in ("table", "json", "yaml", "csv"):
        assert not {"\x1b", "\x07", "\u202e"} & set(mas("state", "get", "sleeper", "-o", format_).out)
    assert mas("state", "get", "sleeper", "limit", "-o", "json").json == HOSTILE
    assert mas("state", "get", "sleeper", "limit", "--raw").out == HOSTILE + "\n"


def test_hostile_keys_are_shown_safely(mas):
    """Paths are made of keys, and keys come off the wire."""
    mas("state", "set", "sleeper", ".", json.dumps({HOSTILE: 1}))

    out = mas("state", "get", "sleeper").out

    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert len(out.splitlines()) == 2


def test_a_state_that_running_instances_refuse_is_warned_of(mas, kept, monkeypatch):
    """In their words, made harmless; it is set all the same."""

    async def refusals(_system, agent_id, _revision):
        return [f"{agent_id} says {HOSTILE}"]

    monkeypatch.setattr("mas_core.ops.state.refusals", refusals)

    ran = mas("state", "set", "sleeper", "limit", "7")

    assert ran.code == 0
    assert "sleeper cannot use this state" in ran.err
    assert not {"\x1b", "\x07", "\u202e"} & set(ran.err)


def test_several_parts_are_changed_at_once(mas):
    """Objects are merged and null takes away; --dry-run and another revision change nothing."""
    assert mas("state", "set", "sleeper", ".", '{"a":{"b":1,"c":2},"d":[1],"e":5}').code == 0
    patch = '{"a":{"c":null,"x":{"y":1}},"d":2,"e":null}'

    tried = mas("state", "patch", "sleeper", patch, "--dry-run", "-o", "json")
    assert tried.json["after"] == {"a": {"b": 1, "x": {"y": 1}}, "d": 2}
    assert mas("state", "get", "sleeper", "e").code == 0
    assert mas("state", "patch", "sleeper", patch, "--if-revision", "999999").code == 7
    assert mas("state", "patch", "sleeper", patch).code == 0
    assert mas("state", "get", "sleeper", "-o", "json").json == {"a": {"b": 1, "x": {"y": 1}}, "d": 2}
    assert "sleeper" in mas("state", "list", "-o", "name").out
    assert mas("state", "set", "sleeper", "d", "3", "--dry-run", "-o", "json").json["before"] == 2
    assert mas("state", "get", "sleeper", "d").out.split()[-1] == "2"
    assert mas("state", "patch", "nobody", "{}").code == 6


def test_a_part_of_a_state_is_reset(mas):
    """--path takes it away, --keep takes all others; a dry run asks nothing."""
    assert mas("state", "set", "sleeper", ".", '{"a":{"b":1,"c":2},"d":[1],"e":5}').code == 0

    assert mas("state", "reset", "sleeper", "--path", "a.b", "--dry-run", "-o", "json").json[0]["after"][
        "a"
    ] == {"c": 2}
    assert mas("state", "reset", "sleeper", "--path", "a.b", "--yes").code == 0
    assert mas("state", "reset", "sleeper", "--keep", "a", "--keep", "e", "--yes").code == 0
    assert mas("state", "get", "sleeper", "-o", "json").json == {"a": {"c": 2}, "e": 5}
    for words in (["--path", "x"], ["--keep", "x"]):
        assert mas("state", "reset", "sleeper", *words, "--yes").code == 6
    assert mas("state", "reset", "sleeper", "--path", "a", "--keep", "e", "--yes").code == 2


def test_a_file_is_compared_with_the_state(mas, kept):
    """Exit 0 where it is the same, 1 with a row for each part that is not."""
    Path("same.json").write_text(json.dumps(kept))
    Path("other.yaml").write_text("notes: [{text: first}]\nlimit: 21\n'on': true\nnone: {}\n")

    same = mas("state", "diff", "sleeper", "--file", "same.json", "-o", "json")
    other = mas("state", "diff", "sleeper", "-f", "other.yaml", "-o", "json")
    part = mas("state", "diff", "sleeper", "-f", "same.json", "--path", "notes", "-o", "json")

    assert (same.code, same.json) == (0, [])
    assert other.code == 1
    assert [(row["path"], row["change"], row["after"]) for row in other.json] == [
        ("notes.1", "removed", None),
        ("limit", "changed", 21),
    ]
    assert (part.code, part.json[0]["path"]) == (1, ".")
    assert mas("state", "diff", "sleeper").code == 2
    assert mas("state", "diff", "nobody", "-f", "same.json").code == 6
