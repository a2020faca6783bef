"""`mas audit report` on a running system."""

from __future__ import annotations

import json
import shlex
import stat
import time
from pathlib import Path

import pytest

from mas_cli.command_parser import parser_for
from mas_cli.routing import route
from mas_core.audit.report.catalogue import controls


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


def test_controls_are_listed_with_their_gaps(mas):
    """All controls of the standards that were asked for, and how many gaps each has."""
    ran = mas("audit", "report", "--standard", "soc2,pci", "-o", "csv")

    assert ran.code == 0
    assert ran.out.splitlines()[0] == "standard,control,title,gaps,gap"
    assert {line.split(",")[0] for line in ran.out.splitlines()[1:]} == {"soc2", "pci"}
    assert "CC6.1" in ran.out


def test_the_report_counts_what_happened(mas):
    """What was just sent and refused is in it, and the chain holds."""
    before = mas("audit", "report", "--format", "json", "--period", "1d").json
    assert mas("send", "calculator", "note.report", "-q").code == 0
    assert mas("send", "calculator", "note.report", "--as", "outsider", "-q").code == 5

    after = mas("audit", "report", "--format", "json", "--period", "1d").json

    assert after["delivered"] > before["delivered"]
    assert after["refused"] == before["refused"] + 1
    assert after["is_intact"] is True
    assert after["measures"]["access_changes"]["figures"][0]["value"] >= 1


def test_nothing_of_another_time_is_counted(mas):
    """A period long ago is empty, and that is a gap."""
    ran = mas("audit", "report", "--period", "2001-01", "--format", "json")

    assert ran.json["records"] == 0
    assert ran.json["measures"]["records"]["gaps"][0]["text"] == "there is no record of this period"


@pytest.mark.parametrize(
    ("name", "start"), [("a.html", "<!doctype html>"), ("a.md", "# Audit report"), ("a.json", "{")]
)
def test_the_file_says_by_its_name_what_is_written(mas, tmp_path, name, start):
    """Private, and replaced only when that is confirmed."""
    path = tmp_path / name
    ran = mas("audit", "report", "--standard", "gdpr", "--out", str(path), "-o", "json")

    assert ran.code == 0
    assert ran.json["path"] == str(path)
    assert path.read_text().startswith(start)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert mas("audit", "report", "--out", str(path)).code == 7
    assert mas("audit", "report", "--out", str(path), "--yes", "-q").code == 0


def test_strict_ends_with_1_when_there_are_gaps(mas):
    """For schedules: the sample system has tokens that never end."""
    ran = mas("audit", "report", "--standard", "soc2", "--strict", "--format", "json")

    gaps = [
        gap["text"] for measure in json.loads(ran.out)["measures"].values() for gap in measure.get("gaps", [])
    ]
    assert any("valid token" in gap for gap in gaps)
    assert ran.code == 1
    assert mas("audit", "report", "--standard", "soc2").code == 0


def test_signatures_are_checked_with_the_key_that_was_kept(mas, tmp_path):
    """What signed checkpoints cover is told, and whether the key is one's own."""
    deadline = time.monotonic() + 20
    unpinned = {}
    while "gaps" not in unpinned and time.monotonic() < deadline:
        # The first checkpoint comes a moment after the first record.
        unpinned = mas("audit", "report", "--format", "json").json["measures"]["integrity"]
    assert any("beside the records" in gap["text"] for gap in unpinned["gaps"])

    pinned = mas("audit", "report", "--format", "json", "--key", ".mas/audit/audit.pub").json["measures"]
    assert "gaps" not in pinned["integrity"]
    assert pinned["checkpoints"]["figures"][1]["value"] > 0

    assert mas("audit", "report", "--key", "no-key").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--standard", "sox"),
        ("--period", "soon"),
        ("--period", "2026-Q3..2026-Q1"),
        ("--format", "pdf"),
        ("--out", "."),
        ("--out", "report"),
        ("--out", "missing/report.html"),
    ],
)
def test_flags_that_make_no_sense_are_refused(mas, words):
    """As usage errors, before or without anything written."""
    ran = mas("audit", "report", *words)

    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


def test_evidence_that_the_report_names_can_be_typed():
    """Every command exists and has these flags."""
    for command in sorted({line for control in controls() for line in control.evidence}):
        found = route(shlex.split(command)[1:])
        assert found.command is not None, command
        parser_for(found.command).make_context("mas", list(found.arguments)).close()
