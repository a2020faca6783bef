"""`mas limit` on a running system."""

import pytest


@pytest.fixture(autouse=True)
def inside(running_project, monkeypatch, mas):
    """In the folder of the running project; limits that a test sets are taken back."""
    monkeypatch.chdir(running_project)
    yield
    for name in ("sleeper", "role:few", "capability:notes"):
        mas("limit", "set", name, "--remove")
    mas("limit", "set", "role:few", "--remove", "--total")
    mas("limit", "set", "default", "--per-minute", "10000000", "--per-hour", "10000000", "--burst", "0")


def row(mas, name, scope="agent"):
    rows = mas("limit", "list", "-o", "json").json
    return next(item for item in rows if (item["name"], item["scope"]) == (name, scope))


def test_limits_are_listed_with_what_is_used(mas):
    """As used/limit for each window, and where each limit comes from."""
    mas("send", "sleeper", "x", "--as", "operator")
    listed = row(mas, "operator")

    used, _, limit = listed["minute"].partition("/")
    assert int(used) >= 1
    assert limit == "10000000"
    assert listed["source"] == "default"
    assert 0 < listed["resets_in"] <= 3601
    assert row(mas, "default", "each")["minute"] == "10000000"


def test_a_limit_is_set_kept_in_the_history_and_taken_back(mas):
    """Numbers left out stay as they are; the history says what was done (P3)."""
    ran = mas("limit", "set", "sleeper", "--per-minute", "7", "--burst", "3", "-o", "json")
    found = mas("limit", "get", "sleeper", "-o", "json").json

    assert ran.code == 0
    (change,) = ran.json
    assert (change["what"], change["name"], change["before"]) == ("limit", "sleeper", "-")
    assert change["after"] == "7 a minute, 10000000 an hour, 3 a second"
    assert "undo with: mas rbac rollback" in ran.err
    assert (found[0]["second"], found[0]["minute"], found[0]["source"]) == ("0/3", "0/7", "sleeper")
    assert "limit of sleeper: 7 a minute" in mas("rbac", "history").out
    mas("limit", "set", "sleeper", "--remove")
    assert row(mas, "sleeper")["source"] == "default"


def test_an_hour_that_is_less_than_a_minute_is_pointed_out(mas):
    """Numbers that are left out stay, and may be the smaller ones."""
    assert "warning" not in mas("limit", "set", "sleeper", "--per-minute", "7", "--per-hour", "70").err
    err = mas("limit", "set", "sleeper", "--per-minute", "700").err

    assert "70 an hour is less than 700 a minute" in err


def test_a_priority_that_is_lowered_is_told_to_who_sends(mas):
    """In words, and as the reason in JSON."""
    assert mas("limit", "set", "operator", "--ceiling", "5").code == 0
    lowered = "the priority 8 was lowered to 5"
    try:
        assert lowered in mas("send", "sleeper", "x", "--priority", "high").err
        assert lowered in mas("send", "sleeper", "x", "--priority", "8", "-o", "json").json["reason"]
        assert mas("send", "sleeper", "x", "-o", "json").json["reason"] is None
    finally:
        mas("limit", "set", "operator", "--remove")


def test_a_dry_run_changes_no_limit(mas):
    """And tells what would be changed."""
    ran = mas("limit", "set", "sleeper", "--per-minute", "7", "--dry-run")

    assert ran.code == 0
    assert "7 a minute" in ran.out
    assert "nothing was changed yet" in ran.err
    assert row(mas, "sleeper")["source"] == "default"


def test_a_reset_clears_what_was_used(mas):
    """The agent may send at once."""
    mas("limit", "set", "operator", "--per-minute", "1000000")
    mas("send", "sleeper", "x")
    before = row(mas, "operator")["minute"]
    dry = mas("limit", "reset", "operator", "--dry-run")
    between = row(mas, "operator")["minute"]
    ran = mas("limit", "reset", "operator", "-o", "json")

    assert (dry.code, ran.code) == (0, 0)
    assert before == between != "0/1000000"
    assert (ran.json[0]["change"], ran.json[0]["minute"]) == ("reset", "0/1000000")
    assert row(mas, "operator")["minute"] == "0/1000000"
    assert "reset what operator has used" in mas("rbac", "history").out
    mas("limit", "set", "operator", "--remove")


def test_totals_of_roles_and_capabilities(mas):
    """Each has a line of its own with what all have used together."""
    assert mas("rbac", "role", "create", "few", "operator").code in (0, 7)
    assert mas("limit", "set", "role:few", "--per-minute", "900000", "--total").code == 0
    assert mas("limit", "set", "role:few", "--per-minute", "800000").code == 0
    assert mas("limit", "set", "capability:notes", "--per-minute", "700000").code == 0
    mas("send", "notebook", "note.add", "--field", "text=x")

    assert row(mas, "role:few", "total")["used"]["minute"] == 1
    assert row(mas, "capability:notes", "total")["used"]["minute"] == 1
    assert row(mas, "operator")["source"] == "role:few"
    both = mas("limit", "get", "role:few", "-o", "json").json
    assert [item["scope"] for item in both] == ["each", "total"]
    assert [item["name"] for item in mas("limit", "get", "operator", "-o", "json").json] == [
        "operator",
        "role:few",
    ]


def test_a_ceiling_is_set_beside_a_limit(mas):
    """And said in its own line (S34)."""
    ran = mas("limit", "set", "sleeper", "--ceiling", "5", "-o", "json")

    assert ran.json == [{"what": "priority", "name": "sleeper", "before": "-", "after": "5"}]
    assert row(mas, "sleeper")["ceiling"] == 5


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("get", "nobody"), 6),
        (("set", "nobody", "--per-minute", "1"), 6),
        (("reset", "nobody"), 6),
        (("get", "capability:none"), 6),
        (("get", "role:none"), 6),
        (("set", "sleeper"), 2),
        (("set", "sleeper", "--per-minute", "-1"), 2),
        (("set", "sleeper", "--per-minute", "1", "--total"), 2),
        (("set", "sleeper", "--per-minute", "1", "--remove"), 2),
        (("set", "capability:gpu", "--ceiling", "1"), 2),
        (("reset", "default"), 2),
    ],
)
def test_what_makes_no_sense_changes_nothing(mas, words, code):
    """With the exit code that tells why."""
    before = mas("limit", "list", "--columns", "name,source", "-o", "csv").out

    assert mas("limit", *words).code == code
    assert mas("limit", "list", "--columns", "name,source", "-o", "csv").out == before
