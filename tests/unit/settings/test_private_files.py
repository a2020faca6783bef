"""Private files and folders stay private and in their place."""

import stat

import pytest

from mas_core.errors import ConfigurationError, InvalidIdentifier, SecretUnavailable
from mas_core.settings.private_files import (
    private_dir,
    read_private,
    read_token,
    token_path,
    write_private,
    write_token,
)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_for_its_owner_only_and_leaves_no_draft(tmp_path):
    """Mode 0600 from the first byte on, one file in the folder."""
    write_private(tmp_path / "key", b"one")
    write_private(tmp_path / "key", b"two")

    assert (tmp_path / "key").read_bytes() == b"two"
    assert mode(tmp_path / "key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_writing_replaces_a_link_and_does_not_follow_it(tmp_path):
    """A link planted at the place of a secret does not lead the secret elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    (tmp_path / "key").symlink_to(elsewhere)

    write_private(tmp_path / "key", b"secret")

    assert elsewhere.read_bytes() == b"mine"
    assert not (tmp_path / "key").is_symlink()


def test_s42_reading_refuses_links_folders_and_open_files(tmp_path):
    """A secret that others can read, or that is not the file it seems, is not used."""
    open_file = tmp_path / "open"
    open_file.write_bytes(b"x")
    open_file.chmod(0o644)
    (tmp_path / "link").symlink_to(write_private(tmp_path / "real", b"x"))

    for name in ("open", "link", ".", "missing"):
        with pytest.raises(SecretUnavailable):
            read_private(tmp_path / name)


def test_a_private_folder_is_closed_again(tmp_path):
    """An existing folder that is open to others is taken back to 0700."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)

    private_dir(folder)
    private_dir(folder / "a" / "b")

    assert mode(folder) == 0o700
    assert mode(folder / "a" / "b") == 0o700


def test_a_link_is_no_private_folder(tmp_path):
    """Data does not go where a link leads."""
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "real")

    with pytest.raises(ConfigurationError, match="not a folder of yours"):
        private_dir(tmp_path / "data")


def test_tokens_come_back_and_missing_ones_say_how_to_get_one(tmp_path):
    """The hint holds commands that can be typed."""
    write_token(tmp_path, "operator", "mas_abc")

    assert read_token(tmp_path, "operator") == "mas_abc"
    with pytest.raises(SecretUnavailable) as caught:
        read_token(tmp_path, "other")
    assert "mas agent register other" in caught.value.hint


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "a\0b", "A", "", "x" * 300, "gateway"])
def test_no_id_leads_a_token_file_out_of_its_folder(tmp_path, name):
    """Only ids of agents name token files."""
    with pytest.raises(InvalidIdentifier):
        token_path(tmp_path, name)
