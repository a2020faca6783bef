"""`mas consensus` on a running system, and `mas consensus verify` without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

VOTERS = ("one", "two", "three")


@pytest.fixture(scope="module", autouse=True)
def voters(running_project: Path):
    """Three agents that may vote, and whom the operator may ask."""
    from mas_cli import app

    for name in VOTERS:
        assert app.main(["agent", "register", name, "--config", str(running_project)]) == 0
        words = ["rbac", "allow", name, "vote:>", "--action", "vote", "--config", str(running_project)]
        assert app.main(words) == 0


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


def test_a_vote_from_its_opening_to_the_file_that_proves_it(mas, tmp_path):
    """Open, vote, look, list, verify in the system, export, verify the file without any system."""
    opened = mas(
        "consensus",
        "open",
        "Deploy?",
        "--voters",
        "one,two",
        "--voters",
        "three",
        "--id",
        "deploy",
        "-o",
        "json",
    )
    listed = mas("consensus", "list", "--state", "open", "-o", "json").json
    first = mas("consensus", "vote", "deploy", "yes", "--as", "one", "-o", "json")
    again = mas("consensus", "vote", "deploy", "yes", "--as", "one", "-o", "json")
    double = mas("consensus", "vote", "deploy", "no", "--as", "one", "-o", "json")
    strange = mas("consensus", "vote", "deploy", "no", "-o", "json")
    status = mas("consensus", "status", "deploy", "-o", "json")
    mas("consensus", "vote", "deploy", "yes", "--as", "two")
    late = mas("consensus", "vote", "deploy", "yes", "--as", "three", "-o", "json")
    done = mas("consensus", "status", "deploy", "--watch", "--until", "state != 'open'", "-o", "jsonl")
    verified = mas("consensus", "verify", "deploy", "-o", "json")
    file = tmp_path / "deploy.json"
    exported = mas("consensus", "export", "deploy", "--out", str(file))
    twice = mas("consensus", "export", "deploy", "--out", str(file))
    offline = mas("consensus", "verify", "--file", str(file), "--url", "redis://127.0.0.1:1")

    assert (opened.code, opened.json["state"], opened.json["unreached"]) == (0, "open", {})
    assert "deploy" in {row["id"] for row in listed}
    assert (first.json["outcome"], again.json["outcome"]) == ("counted", "repeated")
    assert (double.code, double.error["details"]["agent_code"]) == (7, "double_vote")
    assert (strange.code, strange.error["details"]["agent_code"]) == (1, "not_a_participant")
    assert (status.code, status.json["weights"], status.json["missing"]) == (
        0,
        {"yes": 1, "no": 0},
        ["three", "two"],
    )
    assert (late.code, late.error["details"]["agent_code"]) == (7, "late_vote")
    assert json.loads(done.out.splitlines()[-1])["state"] == "accepted"
    assert (verified.code, verified.json["ok"], verified.json["in_audit"]) == (0, True, True)
    assert (exported.code, twice.code, file.stat().st_mode & 0o777) == (0, 7, 0o600)
    assert (offline.code, "ok: recomputed as recorded" in offline.out) == (0, True)
    assert "2 ballots, each signed by its voter; yes 2, no 0; needed 2" in offline.out

    trail = json.loads(file.read_text())
    trail["rounds"][0]["ballots"][0]["ranking"] = ["no"]
    file.write_text(json.dumps(trail))
    tampered = mas("consensus", "verify", "--file", str(file), "-o", "json")
    assert (tampered.code, tampered.json["ok"]) == (1, False)
    assert any("signature of one" in problem for problem in tampered.json["problems"])


def test_a_voter_who_is_gone_leaves_its_vote_verifiable(mas):
    """The audit vouches for keys that the registry does not know any more, and that is said."""
    mas("agent", "register", "brief")
    mas("rbac", "allow", "brief", "vote:>", "--action", "vote")
    mas("consensus", "open", "Gone?", "--voters", "brief", "--id", "gone")
    assert mas("consensus", "vote", "gone", "yes", "--as", "brief").code == 0
    assert mas("agent", "deregister", "brief", "--yes").code == 0

    verified = mas("consensus", "verify", "gone")
    pinned = mas("consensus", "verify", "gone", "--public-key", f"brief={'00' * 32}")

    assert (verified.code, "what the audit says" in verified.err) == (0, True)
    assert pinned.code == 1


def test_a_rejection_is_exit_code_1_and_time_is_4(mas):
    """Whoever waits is told by the exit code; status tells the same afterwards."""
    rejected = mas(
        "consensus",
        "open",
        "No?",
        "--voters",
        "one,two",
        "--id",
        "never",
        "--deadline",
        "100ms",
        "--wait",
        "-o",
        "json",
    )
    late = mas("consensus", "open", "Ever?", "--voters", "one", "--wait", "--timeout", "300ms")

    assert (rejected.code, rejected.json["state"], rejected.json["decided_by"]) == (
        1,
        "rejected",
        "status_quo",
    )
    assert mas("consensus", "status", "never").code == 1
    assert late.code == 4


def test_an_escalated_vote_is_decided_by_the_operator(mas):
    """A tie waits for a person, whose word is recorded as that."""
    mas(
        *("consensus", "open", "Split?", "--voters", "one,two", "--id", "split", "--on-tie", "escalate"),
    )
    for voter, choice in (("one", "yes"), ("two", "no")):
        assert mas("consensus", "vote", "split", choice, "--as", voter).code == 0
    waiting = mas("consensus", "list", "--state", "escalated", "-o", "json").json
    closed = mas("consensus", "close", "split", "--choice", "yes", "-o", "json")
    again = mas("consensus", "close", "split")
    verified = mas("consensus", "verify", "split")

    assert [row["id"] for row in waiting] == ["split"]
    assert (closed.json["state"], closed.json["decided_by"]) == ("accepted", "operator operator")
    assert again.code == 7
    assert (verified.code, "the operator's word" in verified.out) == (0, True)


def test_ranked_weighted_and_abstaining(mas):
    """Weights and rankings by flags; an abstention is a ballot."""
    mas(
        *("consensus", "open", "Which?", "--id", "which", "--strategy", "ranked", "--weight", "one=2"),
        *("--voters", "two,three", "--option", "eu", "--option", "us", "--option", "asia"),
    )
    mas("consensus", "vote", "which", "asia", "eu", "--as", "one")
    mas("consensus", "vote", "which", "us", "eu", "--as", "two")
    ended = mas("consensus", "vote", "which", "--abstain", "--as", "three", "-o", "json")
    shown = mas("consensus", "status", "which", "-o", "json").json

    assert ended.json["choice"] == []
    assert (shown["choice"], shown["weights"]) == ("asia", {"eu": 0, "us": 1, "asia": 2})


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("open", "t"), 2),
        (("open", "t", "--voters", "one", "--strategy", "loud"), 2),
        (("open", "t", "--weight", "one"), 2),
        (("open", "t", "--voters", "one", "--on-tie", "coin"), 2),
        (("open", "t", "--voters", "one", "--id", "not an id"), 2),
        (("open", "t", "--voters", "one", "--as", "nobody"), 2),
        (("vote", "never-there", "yes"), 6),
        (("vote", "never"), 2),
        (("vote", "never", "yes", "--abstain"), 2),
        (("status", "never-there"), 6),
        (("close", "never-there"), 6),
        (("verify",), 2),
        (("verify", "never-there"), 6),
        (("verify", "--file", "no-such-file"), 1),
        (("verify", "--file", "mas.yaml"), 1),
        (("export", "never-there"), 6),
        (("list", "--state", "happy"), 2),
    ],
)
def test_what_cannot_be_ends_with_its_exit_code(mas, words, code):
    """Nothing of it is a bug, and standard output stays empty."""
    ran = mas("consensus", *words)

    assert (ran.code, ran.out) == (code, "")


def test_a_rehearsal_opens_nothing(mas):
    """--dry-run shows the proposal with its defaults."""
    ran = mas("consensus", "open", "Dry?", "--voters", "one", "--id", "dry", "--dry-run", "-o", "json")

    assert (ran.code, ran.json["proposal"]["quorum"]) == (0, "1/2")
    assert mas("consensus", "status", "dry").code == 6
