"""`mas audit notary`, `mas audit key` and `mas audit resume` on a running system."""

from __future__ import annotations

import time

import pytest


@pytest.fixture(autouse=True)
def inside(running_project, monkeypatch):
    """In the folder of the running project, whose notary signs."""
    monkeypatch.chdir(running_project)
    return running_project


def test_status_tells_what_is_signed(mas, inside):
    """Everything, after a moment; exit code 0."""
    deadline = time.monotonic() + 20
    while True:
        ran = mas("audit", "notary", "status", "-o", "json")
        rows = ran.json
        if rows and rows[0]["signed"] and rows[0]["signed"] == rows[0]["records"]:
            break
        assert time.monotonic() < deadline
    (row,) = rows
    assert ran.code == 0
    assert (row["state"], row["partition"], row["problem"]) == ("signing", 0, "")
    assert row["folder"] == str(inside / ".mas" / "audit")
    assert row["signed_at"].endswith("Z")
    status = mas("status", "-o", "json").json
    assert [item["id"] for item in status["notaries"]] == [row["id"]]


def test_status_without_a_notary_is_no(mas, tmp_path):
    """Exit code 1, and what to type."""
    ran = mas("audit", "notary", "status", "--url", "memory://nobody", "-o", "json")

    assert (ran.code, ran.json) == (1, [])
    assert "mas audit notary run" in ran.err


def test_the_key_is_shown_and_rotated(mas, inside):
    """The newest is the current one; the rotation is in the audit."""
    before = mas("audit", "key", "show", "-o", "json").json

    ran = mas("audit", "key", "rotate", "--reason", "yearly", "-o", "json")
    after = mas("audit", "key", "show", "-o", "json").json

    assert ran.code == 0
    assert [item["vkey"] for item in after] == [*(item["vkey"] for item in before), ran.json["vkey"]]
    assert [item["number"] for item in after if item["current"]] == [len(before)]
    assert (inside / ".mas" / "audit" / "audit.pub").read_text().split()[-1] == ran.json["vkey"]
    deadline = time.monotonic() + 20
    while not (
        found := mas("audit", "list", "--kind", "operator", "--limit", "20", "-o", "json").json
    ) or not any("audit.key.rotate" in str(item) and "yearly" in str(item) for item in found):
        assert time.monotonic() < deadline


def test_a_lost_key_needs_a_yes(mas):
    """Since everybody who pinned the old one has to pin again."""
    before = mas("audit", "key", "show", "-o", "json").json

    assert mas("audit", "key", "rotate", "--lost").code == 2
    assert mas("audit", "key", "show", "-o", "json").json == before


def test_a_restore_is_accepted_only_in_words(mas):
    """With the flag and a reason; and only where there is something to accept."""
    for words in ([], ["--accept-restore"], ["--reason", "x"]):
        assert mas("audit", "resume", *words).code == 2
    assert mas("audit", "resume", "--dry-run", "-o", "json").json == []

    ran = mas("audit", "resume", "--accept-restore", "--reason", "x", "-o", "json")
    assert (ran.code, ran.error["code"]) == (7, "conflict")


def test_a_second_notary_is_refused(mas):
    """It names the process that has the folder."""
    ran = mas("audit", "notary", "run", "-o", "json")

    assert (ran.code, ran.error["code"]) == (7, "lock_held")


def test_a_folder_without_evidence_has_no_key(mas, tmp_path):
    """Exit code 6."""
    assert mas("audit", "key", "show", "--folder", str(tmp_path)).code == 6
