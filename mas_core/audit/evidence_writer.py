"""Writes the evidence of one partition: its records, the hashes of its tree, and signed checkpoints.

What a checkpoint names is on the disk before the checkpoint is. The writer takes only records that continue the
chain it holds, and signs nothing before its tree has the root that was signed last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from mas_core.audit.checkpoint import Checkpoint, TreeState
from mas_core.audit.checkpoint_log import CheckpointLog, Signer
from mas_core.audit.durable_files import open_append, sync_folder, write_all
from mas_core.audit.era import read_era
from mas_core.audit.evidence_recovery import OPEN_FILE, rebuild_hashes, recover
from mas_core.audit.hash_file import HashFile
from mas_core.audit.links import linked
from mas_core.audit.merkle import TreeHead, root_of, stored_count
from mas_core.audit.segments import (
    SEGMENT_BYTES,
    SEGMENT_RECORDS,
    Frame,
    segment_name,
    write_segment,
)
from mas_core.errors import EvidenceDamaged
from mas_core.settings.private_files import private_dir, write_private

HASHES_FILE: Final = "hashes"
CHECKPOINTS_FILE: Final = "checkpoints"


@dataclass(frozen=True, slots=True)
class ClosedSegment:
    """A segment that was just closed."""

    partition: int
    path: Path
    frames: tuple[Frame, ...]


def partition_folder(folder: Path, partition: int) -> Path:
    """Where in the evidence folder the evidence of a partition is."""
    return folder / f"p{partition}"


class EvidenceWriter:
    """Appends to the evidence of one partition; there is at most one for each, and after an error it is made anew.

    Args:
        folder: The evidence folder.
        partition: Whose evidence.
        signer: Who signs checkpoints.
        on_closed: Called with each segment that was closed.
        segment_records: Records after which a segment is closed.
        segment_bytes: Bytes after which it is closed before that.

    Raises:
        EvidenceDamaged: The folder does not hold what was signed, and the store cannot mend that.
        ConfigurationError: The folder is somebody else's, or cannot be used.
        OSError: The folder cannot be read or written.
    """

    def __init__(
        self,
        folder: Path,
        partition: int,
        signer: Signer,
        *,
        on_closed: Callable[[ClosedSegment], None] = lambda _segment: None,
        segment_records: int = SEGMENT_RECORDS,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.partition = partition
        self.folder = private_dir(partition_folder(folder, partition))
        self.origin = f"{signer.name}/{partition}"
        self._on_closed = on_closed
        self._segment_records = segment_records
        self._segment_bytes = segment_bytes
        self._era = read_era(self.folder)
        self._records = -1
        self._digest = sha256()
        """Of the lines of the open segment."""
        self._open_count = self._open_bytes = 0
        with contextlib.ExitStack() as files:
            self._log = CheckpointLog(self.folder / CHECKPOINTS_FILE, self.origin, signer)
            files.callback(self._log.close)
            self._hashes = HashFile(self.folder / HASHES_FILE)
            files.callback(self._hashes.close)
            found = recover(self.folder, partition, self._hashes, self._log.last)
            self.mended = found.mended
            """What was found damaged and is asked of the store again, in words."""
            self._tree = TreeHead(found.closed, self._hashes.read)
            self._hashes.put(stored_count(found.closed), self._tree.extend(found.leaves))
            self._head = found.head
            self._open_records(found.records, is_new=not found.is_intact)
            files.callback(lambda: os.close(self._records))
            sync_folder(self.folder)
            self._is_proven = self._log.last is None
            if self.size >= self.signed_size and not self._is_proven and not self._is_as_signed():
                rebuild_hashes(self.folder, self._hashes)
                self._hashes.append(TreeHead(found.closed, self._hashes.read).extend(found.leaves))
                self._tree = TreeHead(self.size, self._hashes.read)
                self._prove()
            self._files = files.pop_all()

    @property
    def size(self) -> int:
        """Number of the last record that is here."""
        return self._tree.size

    @property
    def signed(self) -> Checkpoint | None:
        """The newest checkpoint."""
        return self._log.last

    @property
    def signed_size(self) -> int:
        """Number of the last record that a checkpoint names."""
        return self._log.last.size if self._log.last else 0

    @property
    def head(self) -> str:
        """SHA-256 of the last record, hex."""
        return self._head

    def root(self) -> bytes:
        """The root of the tree of all records that are here."""
        return self._tree.root()

    def append(self, records: Sequence[bytes]) -> None:
        """Take in the records that come next; they are on the disk with the next checkpoint.

        Raises:
            LogDiscontinued: They do not continue the chain; none of them is taken in.
            EvidenceDamaged: A segment that is to be closed is not what was taken in.
            OSError: They could not be written; the writer has to be made anew.
        """
        if not records:
            return
        leaves = linked(self.partition, self.size, self._head, records)
        taken = 0
        if self._is_full():
            # It was about to be closed when the last writer ended.
            self._close_segment()
        while taken < len(records):
            data, count = self._fitting(records, taken)
            write_all(self._records, data)
            self._hashes.append(self._tree.extend(leaves[taken : taken + count]))
            self._digest.update(data)
            self._open_count += count
            self._open_bytes += len(data)
            taken += count
            if self._is_full():
                self._close_segment()
        self._head = sha256(records[-1]).hexdigest()

    def check(self, records: Sequence[bytes]) -> None:
        """Look whether records continue the chain, and take none of them in.

        Raises:
            LogDiscontinued: They do not.
        """
        linked(self.partition, self.size, self._head, records)

    def checkpoint(self, time_ms: int, others: Mapping[int, TreeState] | None = None) -> bytes | None:
        """Sign what is here.

        Args:
            time_ms: Unix milliseconds by the server's clock.
            others: Partition -> its newest checkpoint, of the other partitions.

        Returns:
            The note; None when there is nothing that the last checkpoint does not name.

        Raises:
            EvidenceDamaged: What is here is not what was signed before.
            SecretUnavailable, ConfigurationError: The key cannot be used.
            OSError: It could not be written; the writer has to be made anew.
        """
        if self.size <= self.signed_size:
            return None
        if not self._is_proven:
            self._prove()
        os.fdatasync(self._records)
        return self._log.sign(
            Checkpoint(
                self.origin, self.size, self.root(), time_ms, self._head, self._era, dict(others or {})
            )
        )

    def close(self) -> None:
        """Close all files; what no checkpoint names may not be on the disk."""
        self._files.close()

    def _is_full(self) -> bool:
        return self._open_count >= self._segment_records or self._open_bytes >= self._segment_bytes

    def _fitting(self, records: Sequence[bytes], taken: int) -> tuple[bytes, int]:
        """What of the records goes into the open segment, and how many they are."""
        count = min(len(records) - taken, self._segment_records - self._open_count)
        part = records[taken : taken + count]
        data = b"\n".join(part) + b"\n"
        room = self._segment_bytes - self._open_bytes
        if len(data) > room:
            used = 0
            for index, record in enumerate(part, 1):
                used += len(record) + 1
                if used >= room:
                    return b"\n".join(part[:index]) + b"\n", index
        return data, count

    def _close_segment(self) -> None:
        self._hashes.sync()
        first = self.size - self._open_count + 1
        records = os.pread(self._records, self._open_bytes, 0).split(b"\n")
        records.pop()
        frames = write_segment(self.folder, first, records, self._digest.digest())
        before = self._records
        self._open_records((), is_new=True)
        os.close(before)
        path = self.folder / segment_name(first, self.size)
        self._on_closed(ClosedSegment(self.partition, path, tuple(frames)))

    def _open_records(self, records: Sequence[bytes], *, is_new: bool) -> None:
        """Go on with the open segment, or begin it anew: who reads an old file goes on doing so."""
        path = self.folder / OPEN_FILE
        text = b"".join(record + b"\n" for record in records)
        if is_new:
            write_private(path, text)
            sync_folder(self.folder)
        self._records = open_append(path)
        self._digest = sha256(text)
        self._open_count = len(records)
        self._open_bytes = len(text)

    def _is_as_signed(self) -> bool:
        """Whether all that was signed is here, and is what was signed."""
        signed = self._log.last
        self._is_proven = signed is None or root_of(signed.size, self._hashes.read) == signed.root
        return self._is_proven

    def _prove(self) -> None:
        if not self._is_as_signed():
            raise EvidenceDamaged(
                f"the first {self.signed_size} records in {self.folder} are not those that were signed",
                hint="mas audit verify",
                path=str(self.folder),
            )
