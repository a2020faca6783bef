"""The file with all checkpoints of a partition, one signed note after the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.durable_files import open_append, write_all
from mas_core.audit.note import Note, last_note
from mas_core.errors import EvidenceDamaged, NoteInvalid

_TAIL = 1 << 16


class Signer(Protocol):
    """Who signs checkpoints."""

    @property
    def name(self) -> str:
        """The origin of checkpoints but for the partition."""

    def sign(self, text: str) -> bytes:
        """The note of a text under its signature."""

    def is_signed(self, note: Note) -> bool:
        """Whether it, or one before it, signed a note."""


class CheckpointLog:
    """Appends checkpoints; close it after use.

    Args:
        path: The file; what is torn at its end is cut off.
        origin: Of its checkpoints.
        signer: Who signs them.

    Raises:
        EvidenceDamaged: The last one is not ours.
        OSError: The file cannot be used.
    """

    def __init__(self, path: Path, origin: str, signer: Signer) -> None:
        self._path = path
        self._origin = origin
        self._signer = signer
        self._descriptor = open_append(path)
        try:
            self.last: Checkpoint | None = self._newest()
            """The newest checkpoint."""
        except BaseException:
            self.close()
            raise

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """Sign and keep a checkpoint; when this returns its note, it is on the disk.

        Raises:
            SecretUnavailable, ConfigurationError: The key cannot be used.
            OSError: It could not be written whole.
        """
        note = self._signer.sign(checkpoint.text())
        write_all(self._descriptor, note + b"\n")
        os.fdatasync(self._descriptor)
        self.last = checkpoint
        return note

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _newest(self) -> Checkpoint | None:
        data, end = newest_note(self._descriptor)
        if end < os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, end)
        if data is None:
            return None
        try:
            note = Note.parse(data)
            checkpoint = Checkpoint.parse(note.text)
        except NoteInvalid as error:
            problem = error.message
        else:
            if checkpoint.origin == self._origin and self._signer.is_signed(note):
                return checkpoint
            problem = "it is of another log, or its signature is wrong"
        raise EvidenceDamaged(
            f"the last checkpoint in {self._path} is not ours: {problem}",
            hint="mas audit verify",
            path=str(self._path),
        )


def newest_note(descriptor: int) -> tuple[bytes | None, int]:
    """The last whole note of a file with one after the other, and where it ends; None and 0 without one."""
    length = os.fstat(descriptor).st_size
    reach = _TAIL
    while True:
        start = max(0, length - reach)
        data = os.pread(descriptor, length - start, start)
        found = last_note(data)
        if start == 0 or (found is not None and found[0] > 0):
            break
        reach *= 2
    if found is None:
        return None, 0
    return data[found[0] : found[1] - 1], start + found[1]
