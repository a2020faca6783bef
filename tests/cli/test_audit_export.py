"""`mas audit export`, `count` and `reindex` with an evidence folder beside the store."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def told(mas):
    """A type with two messages that went and one that was refused."""
    told.number = getattr(told, "number", 0) + 1
    name = f"counted{told.number}.one"
    assert mas("send", "calculator", name, "--count", "2", "-q").code == 0
    assert mas("send", "calculator", name, "--as", "outsider", "-q").code == 5
    return name


def test_records_are_counted(mas, told):
    """In all, or for each value of a field, the most frequent first."""
    assert mas("audit", "count", "--type", told, "-o", "json").json == {"records": 3}
    assert mas("audit", "count", "--type", told, "--by", "decision", "-o", "json").json == [
        {"value": "allowed", "records": 2},
        {"value": "denied", "records": 1},
    ]
    assert mas("audit", "count", "--type", told, "--by", "sender").out.splitlines()[0].split() == [
        "SENDER",
        "RECORDS",
    ]
    assert mas("audit", "count", "--by", "prev").code == 2


def test_an_export_takes_the_filters_of_a_list(mas, told, tmp_path):
    """As Parquet too, with a manifest that only its owner reads."""
    path = tmp_path / "audit.parquet"

    ran = mas(
        "audit", "export", "--format", "parquet", "--type", told, "--from", "outsider", "--out", str(path)
    )

    assert ran.code == 0, ran.err
    (row,) = pq.read_table(path).to_pylist()
    assert (row["decision"], row["type"]) == ("denied", told)
    manifest = tmp_path / "audit.parquet.manifest.json"
    assert json.loads(manifest.read_bytes())["rows"] == 1
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600


def test_an_export_goes_on_after_its_bookmark(mas, told):
    """The first has everything, the next one what came since, and the third nothing."""
    name = f"mark-{told}"
    first = mas("audit", "export", "--since", "last", "--bookmark", name)
    mas("send", "calculator", told, "-q")
    second = mas("audit", "export", "--since", "last", "--bookmark", name)

    assert (first.code, second.code) == (0, 0)
    assert json.loads(first.out.splitlines()[0])["seq"] == 1
    records = [json.loads(line) for line in second.out.splitlines()]
    assert records[0]["seq"] == len(first.out.splitlines()) + 1
    assert told in [row.get("type") for row in records]


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "last", "--bookmark", "../x"),
        ("--since", "last", "--until", "now"),
        ("--resume",),
        ("--cloudevents", "--format", "csv"),
        ("--evidence", "x", "--format", "csv"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(mas, words):
    """As usage errors, with nothing written."""
    ran = mas("audit", "export", *words)

    assert (ran.code, ran.out) == (2, "")


def test_evidence_is_copied_and_verifies_alone(mas, told, tmp_path, monkeypatch):
    """S30: on a machine that has only the copy."""
    target = tmp_path / "evidence"

    assert mas("audit", "export", "--evidence", str(target)).code == 0

    monkeypatch.chdir(tmp_path)
    ran = mas("audit", "verify", "--folder", str(target), "-o", "json")
    assert ran.code == 0, ran.err
    assert [found["ok"] for found in ran.json] == [True]
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


def test_the_index_is_left_to_a_notary_that_runs(mas):
    """It keeps it by itself."""
    assert mas("audit", "reindex", "-o", "json").error["code"] == "lock_held"
