"""The keys that sign checkpoints, as files."""

from __future__ import annotations

import hashlib
import stat
import threading

import pytest
from support.evidence import chained, checkpoint_keys, evidence

from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.note import Note, VerifierKey
from mas_core.errors import ConfigurationError, SecretUnavailable


@pytest.fixture
def folder(tmp_path):
    """The evidence folder; its keys are beside it."""
    return tmp_path / "audit"


def test_the_first_key_names_the_system(folder):
    """The id is made from it; private files are private."""
    keys = checkpoint_keys(folder)

    key = VerifierKey.parse((folder / "audit.pub").read_text())
    system = hashlib.sha256(key.public_key).hexdigest()[:16]
    assert (folder / "system").read_text() == f"{system}\n"
    assert keys.name == key.name == f"mas/{system}/audit"
    private = folder.parent / "audit.keys" / "audit-0.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_text().startswith("-----BEGIN PRIVATE KEY-----")


def test_the_same_keys_are_taken_up_again(folder):
    """By another process, and for a folder that was lost, rotations included."""
    first = checkpoint_keys(folder)
    first.rotate()
    for path in folder.iterdir():
        path.unlink()

    again = checkpoint_keys(folder)

    assert again.public == first.public
    assert Note.parse(again.sign("a\n")).signed_by(first.public) == [first.public[1]]


def test_processes_that_begin_at_once_agree(folder):
    """One makes the key, and all have the same."""
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(checkpoint_keys(folder).public)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1


def test_rotations_at_once_are_one_after_the_other(folder):
    """No key is overwritten, and each is vouched for by the one before."""
    checkpoint_keys(folder)
    threads = [threading.Thread(target=lambda: checkpoint_keys(folder).rotate()) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    keys = checkpoint_keys(folder)
    assert len(set(keys.public)) == 6
    assert Note.parse(keys.sign("a\n")).signed_by(keys.public) == [keys.public[-1]]


def test_an_interrupted_rotation_is_completed(folder):
    """A private key that no public one names is taken by the next rotation."""
    keys = checkpoint_keys(folder)
    made = keys.rotate()
    lines = (folder / "audit.pub").read_text().splitlines(keepends=True)
    (folder / "audit.pub").write_text(lines[0])

    again = checkpoint_keys(folder)
    assert Note.parse(again.sign("a\n")).signed_by([*again.public, made]) == [again.public[0]]
    assert again.rotate() == made


def test_another_system_is_refused(folder):
    """By its namespace."""
    checkpoint_keys(folder)
    with pytest.raises(ConfigurationError, match="another system"):
        checkpoint_keys(folder, "other")


@pytest.mark.parametrize("text", [b"", b"no key\n", b"\xff\xfe", b"mas/x/audit+00000000+AAAA\n"])
def test_public_keys_that_cannot_be_read_are_named(folder, text):
    """The file is named."""
    checkpoint_keys(folder)
    (folder / "audit.pub").write_bytes(text)
    with pytest.raises(ConfigurationError, match=r"audit\.pub|another system"):
        checkpoint_keys(folder)


def test_keys_that_are_gone_are_not_replaced(folder):
    """Where something was signed already."""
    evidence(folder, chained(3))
    (folder / "audit.pub").unlink()
    (folder.parent / "audit.keys" / "audit-0.key").unlink()

    with pytest.raises(SecretUnavailable, match="neither"):
        checkpoint_keys(folder)


def test_a_linked_key_is_refused(folder, tmp_path):
    """A link could lead anywhere."""
    keys = checkpoint_keys(folder)
    private = folder.parent / "audit.keys" / "audit-0.key"
    private.rename(tmp_path / "elsewhere")
    private.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SecretUnavailable):
        keys.sign("a\n")
    with pytest.raises(SecretUnavailable):
        CheckpointKeys(folder, private.parent, "mas").rotate()
