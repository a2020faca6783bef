"""The file with the hash sequence of a growing tree: 32 bytes each, as `merkle` lays them out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mas_core.audit.durable_files import open_append, write_all
from mas_core.audit.merkle import HASH_SIZE


class HashFile:
    """Hashes that are appended to, and read wherever they lie; close it after use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = open_append(path)

    def __len__(self) -> int:
        return os.fstat(self._descriptor).st_size // HASH_SIZE

    def read(self, place: int) -> bytes:
        """The hash at a place; zeros where there is none."""
        return os.pread(self._descriptor, HASH_SIZE, place * HASH_SIZE).ljust(HASH_SIZE, b"\x00")

    def append(self, hashes: Sequence[bytes]) -> None:
        """Add hashes; `sync` puts them on the disk.

        Raises:
            OSError: They could not be written whole.
        """
        write_all(self._descriptor, b"".join(hashes))

    def put(self, place: int, hashes: Sequence[bytes]) -> None:
        """Make these the hashes from `place` on, and the last ones."""
        data = b"".join(hashes)
        if os.pread(self._descriptor, len(data) + 1, place * HASH_SIZE) != data:
            self.cut(place)
            self.append(hashes)

    def cut(self, count: int) -> None:
        """Keep only the first `count` hashes."""
        os.ftruncate(self._descriptor, count * HASH_SIZE)

    def sync(self) -> None:
        """Wait until all is on the disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
