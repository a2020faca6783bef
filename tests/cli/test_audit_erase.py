"""`mas audit erase` on a running system."""

import json

import pytest

from mas_core.audit.payload_keys import PayloadKeys

SUBJECT = "ada-lovelace-1815"


@pytest.fixture
def keys(running_project, monkeypatch):
    """In the folder of the running project, where something is sealed for the subject."""
    monkeypatch.chdir(running_project)
    made = PayloadKeys(running_project / ".mas" / "keys" / "payloads")
    made.key_for(SUBJECT)
    return made


def test_a_subject_is_erased_and_what_stays_is_listed(mas, keys):
    """The record of it holds neither the name nor the command line with the name."""
    key_id = keys.key_for(SUBJECT).key_id
    ran = mas("audit", "erase", SUBJECT, "--reason", "ticket 8", "--yes", "-o", "json")

    assert ran.code == 0
    assert [row["change"] for row in ran.json] == ["erased", "stays", "stays", "stays"]
    assert keys.find(SUBJECT) is None
    records = []
    while not any(item["decision"] == "done" for item in records):
        rows = mas("audit", "list", "--kind", "operator", "-o", "json").json
        records = [row for row in rows if row["details"].get("change", {}).get("key") == key_id]
    assert {row["reason"] for row in records} == {"ticket 8"}
    assert records[0]["details"]["command"].startswith("mas audit erase '****' --reason")
    assert SUBJECT not in json.dumps(mas("audit", "list", "--limit", "5000", "-o", "json").json)
    assert mas("audit", "verify").code == 0


def test_a_dry_run_erases_nothing(mas, keys):
    """Nor does it need a reason."""
    ran = mas("audit", "erase", "--subject", SUBJECT, "--dry-run", "-o", "json")

    assert (ran.code, ran.json[0]["change"]) == (0, "would be erased")
    assert keys.find(SUBJECT) is not None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([SUBJECT, "--yes"], 2),
        (["--reason", "x", "--yes"], 2),
        ([SUBJECT, "--subject", SUBJECT, "--reason", "x", "--yes"], 2),
        ([SUBJECT, "--reason", "x"], 2),
        (["somebody", "--reason", "x", "--yes"], 6),
    ],
)
def test_an_erasure_has_to_be_meant(mas, keys, words, code):
    """Without a reason, a subject, or a yes nothing goes; an unknown subject is not found."""
    assert mas("audit", "erase", *words).code == code
    assert keys.find(SUBJECT) is not None
