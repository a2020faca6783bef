"""`mas dlq` on a running system."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def name(running_project: Path) -> str:
    """Name of the system, by which bulk commands are confirmed."""
    return running_project.name


@pytest.fixture
def dead(mas, name) -> Iterator:
    """Makes dead letters; what is left after the test is dropped."""

    def make(*words: str, message_type: str = "math.strict") -> str:
        ran = mas("send", "calculator", message_type, *words, "-o", "json")
        assert ran.code == 0, ran.err
        message_id = ran.json["id"] if "id" in ran.json else ran.json["message_id"]
        for _ in range(500):
            found = mas("dlq", "get", message_id, "-o", "json")
            if found.code == 0:
                return found.json["id"]
            time.sleep(0.02)
        raise AssertionError(found.err)

    mas("dlq", "drop", "--all", "--yes", "--confirm", name)
    yield make
    if mas("dlq", "list", "-o", "json").json:
        assert mas("dlq", "drop", "--all", "--yes", "--confirm", name).code == 0


def test_a_dead_letter_is_listed_and_shown(mas, dead):
    """The list and the details have no payload; it takes --payload."""
    letter = dead('{"secret": "tulip"}')

    listed = mas("dlq", "list", "-o", "json")
    shown = mas("dlq", "get", letter, "-o", "json")
    whole = mas("dlq", "get", letter, "--payload", "-o", "json")
    table = mas("dlq", "get", letter)

    (row,) = listed.json
    assert (row["id"], row["agent"], row["from"], row["type"]) == (
        letter,
        "calculator",
        "operator",
        "math.strict",
    )
    assert (row["code"], row["reason"], row["tries"]) == ("invalid_payload", "there are no numbers", 1)
    assert set(row) < set(shown.json)
    assert "tulip" not in listed.out + shown.out + table.out
    assert whole.json["payload"] == {"secret": "tulip"}
    (attempt,) = shown.json["attempts"]
    assert (attempt["number"], attempt["code"]) == (1, "invalid_payload")
    assert "attempts" in table.out
    assert "ENDS IN" not in mas("dlq", "list").out


def test_filters_and_groups(mas, dead):
    """By agent, type, reason and time."""
    dead()
    dead()

    for words, count in (
        (("--agent", "calculator", "--type", "math.*"), 2),
        (("--reason", "invalid_*"), 2),
        (("--reason", "no numbers"), 2),
        (("--reason", "expired"), 0),
        (("--since", "1h", "--from", "operator"), 2),
        (("--since", "now"), 0),
        (("--older", "1h"), 0),
        (("--limit", "1"), 1),
    ):
        assert len(mas("dlq", "list", *words, "-o", "json").json) == count, words
    assert "only 1 of 2 are shown" in mas("dlq", "list", "--limit", "1", "-q").err
    (group,) = mas("dlq", "stats", "-o", "json").json
    assert (group["count"], group["code"], group["type"]) == (2, "invalid_payload", "math.strict")


def test_status_leads_to_the_list(mas, dead):
    """The hint can be typed."""
    dead()

    ran = mas("status", "-o", "json")

    (problem,) = [item for item in ran.json["problems"] if "given up" in item["message"]]
    assert problem["fix"] == "mas dlq list"


def test_one_is_edited_and_retried(mas, dead):
    """It leaves the list; the audit knows who, why and that it was edited; a second time it is not there."""
    letter = dead()

    tried = mas("dlq", "retry", letter, "--data", '{"numbers": [1]}', "--dry-run", "-o", "json")
    ran = mas("dlq", "retry", letter, "--data", '{"numbers": [1]}', "--reason", "typo", "-o", "json")
    again = mas("dlq", "retry", letter, "-o", "json")

    assert tried.json[0]["result"] == "would retry"
    assert (ran.code, ran.json[0]["result"], ran.json[0]["error"]) == (0, "delivered", None)
    assert (again.code, again.out, again.error["code"]) == (6, "", "dead_letter_not_found")
    assert mas("dlq", "list", "-o", "json").json == []
    records = mas("audit", "get", ran.json[0]["message_id"], "-o", "json").json
    last = max(records, key=lambda found: found["seq"])
    assert (last["kind"], last["reason"], last["details"]["edited"]) == ("dlq.retried", "typo", True)


def test_what_a_check_refuses_stays(mas, dead):
    """Exit 5 with the reason."""
    letter = dead()
    rule = mas("rbac", "deny", "operator", "calculator", "--type", "math.strict", "-o", "name").out.strip()

    ran = mas("dlq", "retry", letter, "-o", "json")

    assert mas("rbac", "revoke", rule).code == 0
    assert (ran.code, ran.out, ran.error["code"]) == (5, "", "refused")
    assert ran.error["details"]["decision"] == "denied"
    assert [row["id"] for row in mas("dlq", "list", "-o", "json").json] == [letter]


def test_bulk_needs_a_word(mas, dead, name):
    """Without one nothing happens: exit 2; a dry run shows what would."""
    letters = {dead(), dead()}

    dry = mas("dlq", "retry", "--all", "--type", "math.*", "--dry-run", "-o", "json")
    assert {row["id"] for row in dry.json} == letters
    for words in (
        ("retry", "--all"),
        ("drop", "--all"),
        ("drop", *sorted(letters)),
        ("drop", "--all", "--yes"),
    ):
        ran = mas("dlq", *words, "-o", "json")
        assert (ran.code, ran.error["code"]) == (2, "confirmation_needed"), words
    assert len(mas("dlq", "list", "-o", "json").json) == 2

    ran = mas("dlq", "retry", "--all", "--rate", "50", "--confirm", name, "-o", "json")
    assert ran.code == 0
    assert {row["result"] for row in ran.json} == {"delivered"}


def test_all_needs_its_word_also_for_one(mas, dead, name):
    """How many there are can change between looking and typing."""
    dead()

    assert mas("dlq", "drop", "--all", "--yes").code == 2
    assert mas("dlq", "drop", "--all", "--confirm", name).code == 0


def test_what_is_dropped_comes_back(mas, dead, name):
    """For a day, under the same id; the message of the drop says how."""
    letters = sorted([dead(), dead()])

    dropped = mas("dlq", "drop", "--all", "--confirm", name)
    kept = mas("dlq", "list", "--dropped", "-o", "json").json
    restored = mas("dlq", "restore", *letters, "-o", "json")
    twice = mas("dlq", "restore", letters[0], "-o", "json")

    assert dropped.code == 0
    assert f"undo within 24 hours with: mas dlq restore {' '.join(letters)}" in dropped.err
    assert {row["id"] for row in kept} >= set(letters)
    assert all(86_000 < row["ends_in"] <= 86_400 for row in kept if row["id"] in letters)
    assert (restored.code, {row["result"] for row in restored.json}) == (0, {"restored"})
    assert (twice.code, twice.error["code"]) == (7, "conflict")
    assert sorted(row["id"] for row in mas("dlq", "list", "-o", "json").json) == letters


def test_a_dry_run_looks_each_up(mas, dead, name):
    """What is not there, or dropped, is said before anything is done."""
    letter = dead()

    one = mas("dlq", "drop", "0:1", "--dry-run", "-o", "json")
    some = mas("dlq", "retry", letter, "0:1", "--dry-run", "-o", "json")
    mas("dlq", "drop", letter, "--yes")
    dropped = mas("dlq", "retry", letter, "--dry-run", "-o", "json")
    back = mas("dlq", "restore", letter, "--dry-run", "-o", "json")

    assert (one.code, one.error["code"]) == (6, "dead_letter_not_found")
    assert (some.code, [row["result"] for row in some.json]) == (8, ["would retry", "failed"])
    assert (dropped.code, dropped.error["code"]) == (7, "conflict")
    assert (back.code, back.json[0]["result"], back.json[0]["agent"]) == (0, "would restore", "calculator")


def test_dropped_ones_are_counted_and_restored_by_filters(mas, dead, name):
    """As the others are listed, retried and dropped."""
    letter = dead()
    mas("dlq", "drop", letter, "--yes")

    groups = mas("dlq", "stats", "--dropped", "--type", "math.strict", "-o", "json").json
    none = mas("dlq", "restore", "--all", "--type", "text.*", "-o", "json")
    restored = mas("dlq", "restore", "--all", "--agent", "calculator", "--since", "1h", "-o", "json")

    assert groups[0]["count"] >= 1
    assert (none.code, none.json) == (0, [])
    assert letter in {row["id"] for row in restored.json}
    assert letter in {row["id"] for row in mas("dlq", "list", "-o", "json").json}


def test_what_a_rule_holds_has_to_be_approved(mas, dead):
    """The refusal says how."""
    letter = dead()
    rule = mas("rbac", "hold", "operator", "calculator", "--type", "math.strict", "-o", "name").out.strip()

    held = mas("dlq", "retry", letter, "-o", "json")
    ran = mas("dlq", "retry", letter, "--approve", "-o", "json")

    assert mas("rbac", "revoke", rule).code == 0
    assert (held.code, held.error["hint"]) == (5, [f"mas dlq retry {letter} --approve"])
    assert (ran.code, ran.json[0]["result"]) == (0, "delivered")


def test_of_several_some_may_fail(mas, dead):
    """Each has its line, and the exit code is 8."""
    letter = dead()

    ran = mas("dlq", "retry", letter, "0:1", "-o", "json")

    assert ran.code == 8
    assert [row["result"] for row in ran.json] == ["delivered", "failed"]
    assert ran.json[1]["error"]["code"] == "dead_letter_not_found"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("get", "0:1"), 6),
        (("retry", "0:1"), 6),
        (("drop", "9:1", "--yes"), 6),
        (("get", "../x"), 2),
        (("retry",), 2),
        (("drop",), 2),
        (("retry", "0:1", "--all"), 2),
        (("retry", "0:1", "--type", "x"), 2),
        (("retry", "--all", "--data", "{}"), 2),
        (("retry", "0:1", "--data", "nonsense"), 2),
        (("list", "--since", "nonsense"), 2),
    ],
)
def test_what_cannot_be_done(mas, words, code):
    """A wrong call, or nothing there."""
    assert mas("dlq", *words).code == code


def test_ids_are_completed(mas, dead):
    """The newest ones."""
    from mas_cli.completion.values import letters

    letter = dead()

    assert (letter, "") in letters([""])


def test_an_order_is_an_act_of_its_operator(mas, dead):
    """Recorded before and after it is written, without the payload."""
    letter = dead()

    mas("dlq", "retry", letter, "--data", '{"numbers": [1], "word": "tulip"}', "--reason", "typo")

    def recorded():
        found = mas("audit", "list", "--kind", "operator", "-o", "json")
        assert "tulip" not in found.out
        return [row for row in found.json if row["details"].get("subjects") == [letter]]

    for _ in range(100):
        if len(recorded()) == 2:
            break
        time.sleep(0.05)
    done, begun = recorded()
    assert (begun["decision"], done["decision"], done["reason"]) == ("begun", "done", "typo")
    assert done["details"]["change"] == {"orders": 1, "edited": True, "results": {"ok": 1}}
