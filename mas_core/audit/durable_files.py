"""Private files that are appended to and survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def open_append(path: Path) -> int:
    """A descriptor that reads the private file at `path` and appends to it; links are not followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`.

    Raises:
        OSError: A part of it may be written, as on a full disk.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def append_durably(path: Path, data: bytes) -> None:
    """Append to a private file; when this returns, it is on the disk."""
    descriptor = open_append(path)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names of files that were made, renamed or removed survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
