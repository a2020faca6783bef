"""`mas audit export --sign`, and what checks it without the system."""

from __future__ import annotations

import stat

import pytest

SIGNED = "all.jsonl.manifest.note"


@pytest.fixture
def inside(running_project, monkeypatch):
    """In the folder of the running project, whose notary signs."""
    monkeypatch.chdir(running_project)
    return running_project


@pytest.fixture
def exported(mas, inside, tmp_path):
    """A folder with an export that is signed, and the public keys."""
    out = str(tmp_path / "all.jsonl")
    ran = mas("audit", "export", "--format", "jsonl", "--out", out, "--sign", "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.json["signature"] == str(tmp_path / SIGNED)
    (tmp_path / "audit.pub").write_bytes((inside / ".mas" / "audit" / "audit.pub").read_bytes())
    return tmp_path


def check(mas, folder, *words):
    """Check the signature with nothing but the files."""
    return mas("audit", "check-proof", str(folder / SIGNED), *words, "-o", "json")


def test_a_signed_export_is_checked_without_the_system(mas, exported, monkeypatch):
    """Who signed, how many rows, and that the chain held; a key that is pinned as text will do."""
    monkeypatch.chdir(exported)
    newest = (exported / "audit.pub").read_text().split()[-1]
    ran = check(mas, exported, "--key", newest)

    assert ran.code == 0
    found = ran.json
    assert (found["ok"], found["chain_holds"], found["key"]) == (True, True, newest)
    assert found["rows"] == len((exported / "all.jsonl").read_bytes().splitlines())
    assert stat.S_IMODE((exported / SIGNED).stat().st_mode) == 0o600
    assert check(mas, exported, "--key", "audit.pub").code == 0
    assert check(mas, exported).code == 2


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.manifest.json", SIGNED])
def test_what_was_changed_after_it_was_signed_is_found(mas, exported, name):
    """The records, the manifest, or the signature itself."""
    path = exported / name
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1) if name != SIGNED else path.read_bytes()[:-8])
    ran = check(mas, exported, "--key", str(exported / "audit.pub"))

    assert (ran.code, ran.json) == (1, {"ok": False})
    assert name == SIGNED or f"{name}: not what was signed" in ran.err


def test_a_stranger_s_signature_counts_for_nothing(mas, exported, tmp_path_factory):
    """Only keys that were named are trusted, never one that comes with the export."""
    from support.evidence import checkpoint_keys

    stranger = checkpoint_keys(tmp_path_factory.mktemp("other"))
    ran = check(mas, exported, "--key", str(stranger.public[0]))
    assert (ran.code, ran.json) == (1, {"ok": False})
    text = (exported / SIGNED).read_bytes().partition(b"\n\n")[0].decode() + "\n"
    (exported / SIGNED).write_bytes(stranger.sign(text))
    assert check(mas, exported, "--key", str(exported / "audit.pub")).code == 1


def test_an_export_that_is_not_signed_leaves_no_older_signature(mas, exported):
    """It would be of other bytes."""
    assert mas("audit", "export", "--out", str(exported / "all.jsonl"), "--yes").code == 0
    assert not (exported / SIGNED).exists()


def test_a_signature_needs_a_file(mas, inside, tmp_path):
    """And is not made of the evidence, which has its own."""
    assert mas("audit", "export", "--sign").code == 2
    assert mas("audit", "export", "--sign", "--evidence", str(tmp_path / "e")).code == 2
