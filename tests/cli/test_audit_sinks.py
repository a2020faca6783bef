"""`mas audit sinks` in a project."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mas_core.audit.chain import Chain
from mas_core.audit.sinks.daily_files import DailyFiles
from mas_core.audit.sinks.record_file import RecordFile
from mas_core.model.audit_record import AuditRecord


@pytest.fixture
def project(mas) -> Path:
    """A project with a file and daily files of three days."""
    assert mas("init", ".", "-q").code == 0
    text = Path("mas.yaml").read_text()
    assert "gateway:" not in text.splitlines()
    Path("mas.yaml").write_text(text + "\ngateway: {audit: {files: [copies/audit.jsonl], daily: logs}}\n")
    chain = Chain()
    RecordFile(Path("copies/audit.jsonl"), 0).append([chain.append(AuditRecord(0, 1)) for _ in range(4)])
    today = datetime.now(UTC).date()
    for age in (0, 1, 40):
        DailyFiles(Path("logs")).write("errors", (today - timedelta(days=age)).isoformat(), [b"{}", b"{}"])
    return Path.cwd()


def test_files_are_listed_with_how_far_they_got(mas, project):
    """The last number in the file, and the size of the folder of days."""
    found = mas("audit", "sinks", "list", "-o", "json").json

    assert [(row["kind"], row["last_seq"], row["files"]) for row in found] == [
        ("records", 4, 1),
        ("daily", None, 3),
    ]

    Path("copies/audit.jsonl").write_text("no record\n")
    ran = mas("audit", "sinks", "list", "-o", "json")
    assert (ran.code, ran.json[0]["last_seq"]) == (1, None)
    assert "no record" in ran.json[0]["problem"]


def test_entries_are_counted_by_day_and_by_kind(mas, project):
    """Over all days, or each."""
    assert [row["entries"] for row in mas("audit", "sinks", "stats", "-o", "json").json] == [2, 2, 2]
    assert mas("audit", "sinks", "stats", "--by-kind", "-o", "json").json == [
        {"kind": "errors", "days": 3, "entries": 6, "bytes": 18}
    ]


def test_old_days_go_only_when_that_is_confirmed(mas, project):
    """A dry run shows them; without a yes nobody deletes."""
    planned = mas("audit", "sinks", "clean", "--keep-days", "30", "--dry-run", "-o", "json").json
    assert len(planned) == 1
    assert mas("audit", "sinks", "clean", "--keep-days", "30").code == 2
    assert len(list(Path("logs").iterdir())) == 3

    assert mas("audit", "sinks", "clean", "--keep-days", "30", "--yes", "-o", "json").json == planned
    assert len(list(Path("logs").iterdir())) == 2


@pytest.mark.parametrize("words", [("clean",), ("clean", "--keep-days", "0", "--yes")])
def test_clean_needs_a_number_of_days(mas, project, words):
    """Nothing is removed by mistake."""
    assert mas("audit", "sinks", *words).code == 2
    assert len(list(Path("logs").iterdir())) == 3


def test_without_settings_there_is_nothing(mas):
    """And the command says how to have something."""
    assert mas("init", ".", "-q").code == 0

    ran = mas("audit", "sinks", "list")
    assert ran.code == 0
    assert "gateway.audit.files" in ran.err
    assert mas("audit", "sinks", "stats").code == 2
