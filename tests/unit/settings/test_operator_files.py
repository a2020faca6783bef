"""Where the credential of an operator may be, and where not."""

from __future__ import annotations

import os

import pytest

from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.settings.operator_files import MAX_PRIVATE_BYTES, read_credential_at
from mas_core.settings.private_files import write_private


def test_a_credential_is_read_from_a_file_a_variable_and_a_descriptor(tmp_path, monkeypatch):
    """What comes from a descriptor can be asked for again, though it can be read once alone."""
    path = write_private(tmp_path / "ann.operator", b"credential\n")
    monkeypatch.setenv("ANN", "credential")
    monkeypatch.setenv("HOME", str(tmp_path))
    end, begin = os.pipe()
    os.write(begin, b"credential")
    os.close(begin)

    for place in (str(path), f"file:{path}", "env:ANN", "~/ann.operator", f"fd:{end}", f"fd:{end}"):
        assert read_credential_at(place) == b"credential", place
    os.close(end)


def test_a_place_that_is_open_to_others_or_none_is_refused(tmp_path, monkeypatch):
    """Each says which; what stands there is not shown."""
    path = write_private(tmp_path / "ann.operator", b"zzsecret")
    path.chmod(0o640)
    monkeypatch.delenv("NOBODY", raising=False)
    for place, error in (
        (str(path), SecretUnavailable),
        (str(tmp_path / "none"), SecretUnavailable),
        ("env:NOBODY", SecretUnavailable),
        ("fd:9999", SecretUnavailable),
        ("fd:99999999999999999999", SecretUnavailable),
        ("fd:x", ConfigurationError),
        ("fd:-1", ConfigurationError),
    ):
        with pytest.raises(error) as caught:
            read_credential_at(place)
        assert "zzsecret" not in str(caught.value)


def test_a_descriptor_without_end_is_given_up(tmp_path):
    """Nobody fills the memory with a credential."""
    with (tmp_path / "endless").open("wb+") as file:
        file.truncate(10 * MAX_PRIVATE_BYTES)
        file.seek(0)
        assert len(read_credential_at(f"fd:{file.fileno()}")) <= MAX_PRIVATE_BYTES + 65536
