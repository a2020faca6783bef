"""Logs of agents stay private and small."""

import os
import stat

import pytest

from mas_core.runner.log_files import open_log, rotate_if_large


def test_a_log_is_rotated_under_its_writer(tmp_path):
    """The writer keeps its descriptor and goes on at the beginning of the emptied file."""
    path = tmp_path / "a-1.log"
    writer = open_log(path)
    for part in (b"one" * 50, b"two" * 50, b"three" * 50, b"four" * 50):
        os.write(writer, part)
        assert rotate_if_large(path, max_bytes=100, kept=2)
    os.write(writer, b"last")
    os.close(writer)

    assert path.read_bytes() == b"last"
    assert (tmp_path / "a-1.log.1").read_bytes() == b"four" * 50
    assert (tmp_path / "a-1.log.2").read_bytes() == b"three" * 50
    assert len(list(tmp_path.iterdir())) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_a_small_or_missing_log_is_left_alone(tmp_path):
    """Nothing is made or moved below the limit."""
    assert not rotate_if_large(tmp_path / "none.log")
    (tmp_path / "b.log").write_bytes(b"x")
    assert not rotate_if_large(tmp_path / "b.log", max_bytes=1)


def test_a_link_in_place_of_a_log_is_not_followed(tmp_path):
    """Output does not go where somebody else wants it."""
    (tmp_path / "a.log").symlink_to(tmp_path / "target")

    with pytest.raises(OSError):
        open_log(tmp_path / "a.log")

    assert not (tmp_path / "target").exists()
