"""`mas audit archive` and `restore` on a running system."""

import asyncio
import shutil

import pytest
from support.followed_evidence import Evidence

from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.ops.system import System
from mas_core.settings.target import resolve_target


@pytest.fixture
def project(running_project, tmp_path, monkeypatch):
    """A copy of the running project with evidence of its own: segments of 16 records."""
    copy = tmp_path / "copy"
    shutil.copytree(running_project, copy, ignore=shutil.ignore_patterns("audit", "server", "run"))
    monkeypatch.setenv("MAS_URL", resolve_target(config=running_project, environ={}).url)
    monkeypatch.chdir(copy)
    return copy


async def followed(project) -> Evidence:
    async with System(resolve_target()) as system:
        folder = project / ".mas" / "audit"
        made = Evidence(folder, CheckpointKeys(folder, project / ".mas" / "keys", system.store.namespace))
        await made.follow(system.store.records, segment=16)
    return made


@pytest.fixture
def evidence(project, mas):
    """What was recorded until now; 40 messages more, so that there are closed segments."""
    for _ in range(40):
        assert mas("send", "sleeper", "x", "--as", "operator").code == 0
    return asyncio.run(followed(project))


@pytest.fixture
def cold(tmp_path):
    """An empty place."""
    (tmp_path / "cold").mkdir()
    return tmp_path / "cold"


def test_segments_are_archived_and_come_back(mas, evidence, cold):
    """Archive, lose a segment, restore it; and a whole folder on another machine."""
    ran = mas("audit", "archive", "--to", str(cold), "--no-trim", "-o", "json")
    (row,) = ran.json
    assert (ran.code, row["copied"], row["error"]) == (0, len(evidence.segments()), None)
    assert row["copied"] == row["archived"] > 1
    recorded = set()
    while "audit.archive" not in recorded:
        recorded = {item["type"] for item in mas("audit", "list", "--kind", "operator", "-o", "json").json}
    again = mas("audit", "archive", "--to", str(cold), "--no-trim", "-o", "json").json
    assert (again[0]["copied"], again[0]["archived"]) == (0, row["archived"])

    lost = evidence.segments()[0]
    content = lost.read_bytes()
    lost.unlink()
    back = mas("audit", "restore", "--from", str(cold), "-o", "json")
    assert [item["segment"] for item in back.json] == [f"p0/{lost.name}"]
    assert lost.read_bytes() == content

    whole = mas("audit", "restore", "--from", str(cold), "--out", "again", "-o", "json")
    assert (whole.code, len(whole.json)) == (0, row["archived"])
    assert mas("audit", "restore", "--from", str(cold), "--out", "again").code == 7


def test_the_settings_name_the_archive(mas, evidence, cold, project):
    """A relative folder is understood from the file that names it."""
    text = (project / "mas.yaml").read_text()
    (project / "mas.yaml").write_text(text + "\ngateway: {audit: {archive: {url: ../cold}}}\n")

    assert mas("audit", "archive", "--no-trim").code == 0
    assert list(cold.rglob("*.jsonl.zst"))


def test_a_dry_run_of_the_archive_changes_nothing(mas, evidence, cold):
    """And counts what would be copied."""
    ran = mas("audit", "archive", "--to", str(cold), "--dry-run", "-o", "json")

    assert (ran.code, ran.json[0]["copied"]) == (0, len(evidence.segments()))
    assert not list(cold.iterdir())


def test_without_retention_nothing_leaves_the_store(mas, evidence):
    """And without an archive nothing is copied; both are said."""
    ran = mas("audit", "archive", "-o", "json")

    assert ran.json[0]["trimmed"] == 0
    assert "no retention is in force" in ran.json[0]["stopped"]
    assert "no archive is set" in ran.err


def test_an_archive_that_cannot_be_reached_is_exit_code_3(mas, evidence, tmp_path):
    """The place is not mounted."""
    ran = mas("audit", "archive", "--to", str(tmp_path / "nowhere"), "-o", "json")

    assert (ran.code, ran.error["code"]) == (3, "archive_unavailable")


def test_a_corrupt_segment_is_exit_code_1(mas, evidence, cold):
    """It is named, and not copied."""
    path = evidence.segments()[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    ran = mas("audit", "archive", "--to", str(cold), "-o", "json")

    assert ran.code == 1
    assert path.name in ran.error["message"]
    assert not list(cold.rglob("*.zst"))


def test_a_password_in_the_url_is_refused(mas, evidence):
    """It would be in the list of processes, and in the history of the shell."""
    ran = mas("audit", "archive", "--to", "s3://key:hunter2@bucket/x", "-o", "json")

    assert ran.code == 2
    assert "hunter2" not in ran.err


def test_two_systems_in_one_archive_are_told_apart(mas, evidence, cold):
    """Which one is meant has to be said."""
    mas("audit", "archive", "--to", str(cold), "--no-trim")
    (first,) = cold.iterdir()
    shutil.copytree(first, cold / "other-1")

    ran = mas("audit", "restore", "--from", str(cold), "--out", "again", "-o", "json")

    assert ran.code == 2
    assert f"--from {cold / 'other-1'}" in ran.error["hint"]
    assert mas("audit", "restore", "--from", str(first), "--out", "again").code == 0


def test_restoring_without_an_archive_says_where_to_name_one(mas, evidence):
    """Neither the settings nor a flag name it."""
    ran = mas("audit", "restore", "-o", "json")

    assert ran.code == 2
    assert "--from URL" in ran.error["hint"]
