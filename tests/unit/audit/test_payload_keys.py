"""Keys of subjects: made once, found again, and destroyed for good."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mas_core.audit.payload_keys import PayloadKeys
from mas_core.errors import ConfigurationError, DecryptionFailed, SecretUnavailable, UsageError


@pytest.fixture
def folder(tmp_path):
    """Where the keys are."""
    return tmp_path / "payloads"


def files(folder):
    return [path for path in folder.rglob("*.key") if path.name != "naming.key"]


def test_a_subject_has_one_key_that_is_found_again(folder):
    """By this process and by others, and by several at once."""
    keys = PayloadKeys(folder)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: keys.key_for("customer 7").key_id, range(16)))

    assert len(found) == 1
    assert PayloadKeys(folder).key_for("customer 7") == keys.find("customer 7")
    assert keys.find("customer 8") is None
    assert keys.key_for("customer 8").key != keys.key_for("customer 7").key


def test_what_is_sealed_opens_for_its_message_only(folder):
    """Under another key or for another message it does not."""
    keys = PayloadKeys(folder)
    key = keys.key_for("customer 7")
    sealed = key.seal(b'{"name":"Ada"}', b"m1")

    assert b"Ada" not in sealed
    assert key.open(sealed, b"m1") == b'{"name":"Ada"}'
    for other, bound, text in (
        (key, b"m2", sealed),
        (keys.key_for("customer 8"), b"m1", sealed),
        (key, b"m1", sealed[:-1]),
        (key, b"m1", b""),
    ):
        with pytest.raises(DecryptionFailed):
            other.open(text, bound)


def test_a_destroyed_key_is_gone_for_good(folder):
    """Copies that were sealed under it stay closed; the subject gets a new key when it comes again."""
    keys = PayloadKeys(folder)
    key = keys.key_for("customer 7")
    sealed = key.seal(b"secret", b"m1")
    (path,) = files(folder)
    with path.open("rb") as held:
        assert keys.destroy("customer 7") == key.key_id
        # Whoever holds the file open reads noise.
        assert key.key.hex().encode() not in held.read()

    assert files(folder) == []
    assert keys.destroy("customer 7") == ""
    assert PayloadKeys(folder).find("customer 7") is None
    with pytest.raises(DecryptionFailed):
        keys.key_for("customer 7").open(sealed, b"m1")


def test_the_folder_does_not_tell_whose_keys_it_holds(folder):
    """Names are hashes under a key, so that they cannot be guessed; nobody else reads anything."""
    PayloadKeys(folder).key_for("ada@example.org")
    (folder.parent / "other").mkdir()
    PayloadKeys(folder.parent / "other" / "payloads").key_for("ada@example.org")

    names = {path.name for root in (folder, folder.parent / "other") for path in files(root)}
    assert len(names) == 2
    assert not any("ada" in path.as_posix() for path in folder.rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}


@pytest.mark.parametrize("subject", ["", "x" * 201, "a\nb", "a\0b"])
def test_what_cannot_be_a_subject_is_refused(folder, subject):
    """It could not be told apart in records and messages."""
    with pytest.raises(UsageError):
        PayloadKeys(folder).key_for(subject)


def test_hostile_subjects_are_names_of_keys_and_nothing_else(folder):
    """No subject leads out of the folder."""
    keys = PayloadKeys(folder)
    for subject in ("../../x", "/etc/passwd", "naming", "\ud800", "*"):
        keys.key_for(subject)

    assert len(files(folder)) == 5


def test_damaged_and_open_keys_are_refused_but_can_be_destroyed(folder):
    """A key that others can read protects nobody."""
    keys = PayloadKeys(folder)
    keys.key_for("customer 7")
    (path,) = files(folder)
    path.chmod(0o644)
    with pytest.raises(SecretUnavailable):
        keys.key_for("customer 7")
    path.chmod(0o600)
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError):
        keys.key_for("customer 7")

    assert keys.destroy("customer 7") == "unreadable"
    assert files(folder) == []
