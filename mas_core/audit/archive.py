"""Copies closed segments to an archive, and believes only what it reads back from there.

The archive of a system has the shape of an evidence folder: beside each segment lie the checkpoints that were
signed while it grew, and one for its end, so that what is there can be verified without anything else. A segment is
proven before it is copied, and its copy is decompressed and compared before it counts. Whatever is interrupted is
done again by the next run: what is in the archive is asked of the archive, and nowhere else written down.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import zstandard

from mas_core.audit.archive_target import ArchiveTarget
from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.checkpoint_keys import PUBLIC_FILE, ROTATIONS_FILE, SYSTEM_FILE
from mas_core.audit.deleted_records import read_deleted
from mas_core.audit.era import ERA_FILE
from mas_core.audit.evidence_reader import EvidenceReader, Segment, open_plain
from mas_core.audit.merkle import TreeHead
from mas_core.audit.note import Note, VerifierKey
from mas_core.audit.record_proof import prove_records, signed_checkpoint
from mas_core.errors import ArchiveUnavailable, EvidenceDamaged, NoteInvalid

_CHUNK = 1 << 18
_MAX_WINDOW = 64 << 20
_ROOT_FILES: Final = (PUBLIC_FILE, ROTATIONS_FILE, SYSTEM_FILE)

OnCopied = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Copied:
    """What one run did for a partition."""

    segments: tuple[str, ...]
    """Names of the segments that were copied."""
    there: int
    """How many segments the archive has of it now."""


class Keys(Protocol):
    """The keys of an evidence folder."""

    @property
    def public(self) -> tuple[VerifierKey, ...]:
        """The public keys, the oldest first."""

    def sign(self, text: str) -> bytes:
        """The note of a text under the signature of the newest."""


class Archive:
    """The archive of one evidence folder.

    Args:
        folder: The evidence folder.
        keys: Its keys.
        target: Where the archive is.
    """

    def __init__(self, folder: Path, keys: Keys, target: ArchiveTarget) -> None:
        self._folder = folder
        self._keys = keys
        self.target = target

    def copy_partition(
        self, partition: int, on_copied: OnCopied | None = None, *, dry_run: bool = False
    ) -> Copied:
        """Copy the closed segments of a partition that are covered by a checkpoint and not there yet.

        Args:
            partition: Which one.
            on_copied: Gets the name of each as it is there.
            dry_run: Copy nothing, and tell what would be copied.

        Raises:
            ArchiveUnavailable: The archive does not take a file, or gives another one back.
            EvidenceDamaged: A segment is not what was signed; nothing of it was copied.
            ChainBroken: A segment cannot be read.
        """
        there = set(self.target.names())
        copied = []
        with EvidenceReader(self._folder, partition) as reader:
            checkpoint = signed_checkpoint(reader, self._keys.public)
            if checkpoint is None:
                return Copied((), 0)
            deleted = read_deleted(reader.path, partition, self._keys.public)
            gone = deleted.last if deleted is not None else 0
            segments = [item for item in reader.segments() if gone < item.last <= checkpoint.size]
            missing = [segment for segment in segments if archived_name(segment) not in there]
            if dry_run:
                return Copied(tuple(item.path.name for item in missing), len(segments) - len(missing))
            if missing:
                self._copy_keys()
                self.copy_file(reader.path / ERA_FILE)
            for segment, notes in _with_notes(reader, missing):
                tail: deque[Sequence[bytes]] = deque(maxlen=1)
                digest = prove_records(reader, checkpoint, segment.first, segment.last, tail.append)
                notes.append(self._closing_note(reader, checkpoint, segment.last, tail[0][-1]))
                # The checkpoints first: where a segment is, its checkpoints are too.
                self.target.put(checkpoints_name(segment), io.BytesIO(b"".join(notes)))
                self._copy_segment(segment, digest)
                copied.append(segment.path.name)
                if on_copied is not None:
                    on_copied(segment.path.name)
        return Copied(tuple(copied), sum(archived_name(item) in there for item in segments) + len(copied))

    def copy_eras(self) -> list[str]:
        """Copy what was kept of logs before a restore that somebody accepted; names of what was copied.

        Raises:
            ArchiveUnavailable: The archive does not take a file, or gives another one back.
        """
        there = set(self.target.names())
        copied = []
        for path in sorted(self._folder.glob("p*.era*/*")):
            name = path.relative_to(self._folder).as_posix()
            if path.name.startswith(".") or path.name == "hashes" or name in there:
                continue
            self.copy_file(path)
            copied.append(name)
        return copied

    def _closing_note(
        self, reader: EvidenceReader, checkpoint: Checkpoint, last: int, record: bytes
    ) -> bytes:
        """A checkpoint for the end of a segment that was just proven: the log may have none of that size."""
        root = TreeHead(last, reader.read_hash).root()
        head = hashlib.sha256(record).hexdigest()
        closing = replace(checkpoint, size=last, root=root, head=head, others={})
        return self._keys.sign(closing.text()) + b"\n"

    def holds(self, segment: Segment, digest: bytes) -> bool:
        """Whether the archive gives back a segment with these records; a copy that is damaged is made anew.

        Args:
            segment: One of the evidence folder.
            digest: SHA-256 of its records, one a line.

        Raises:
            ArchiveUnavailable: The archive does not answer, or cannot hold it.
        """
        found = self._stored_digest(archived_name(segment))
        if found is None:
            return False
        if found != digest:
            self._copy_segment(segment, digest)
        return True

    def _copy_segment(self, segment: Segment, digest: bytes) -> None:
        name = archived_name(segment)
        with open_plain(segment.path) as file:
            self.target.put(name, file)
        if self._stored_digest(name) != digest:
            self.target.delete(name)
            raise ArchiveUnavailable(
                f"the archive gave back something else than it took: {self.target.shown}/{name}",
                hint="mas audit archive",
                url=self.target.shown,
                file=name,
            )

    def _stored_digest(self, name: str) -> bytes | None:
        """SHA-256 of what a stored segment decompresses to; None when it is not there, empty when it does not."""
        file = self.target.open(name)
        if file is None:
            return None
        digest = hashlib.sha256()
        try:
            with closing(file):
                for piece in plain_pieces(file):
                    digest.update(piece)
        except zstandard.ZstdError:
            return b""
        except OSError as error:
            raise ArchiveUnavailable(
                f"the archive cannot be read: {self.target.shown}/{name}: {error.strerror or error}",
                url=self.target.shown,
                file=name,
            ) from error
        return digest.digest()

    def _copy_keys(self) -> None:
        """Copy the public keys; an archive with other ones is that of another system, or a key was replaced."""
        stored = self._stored_bytes(PUBLIC_FILE)
        if stored is not None and not (self._folder / PUBLIC_FILE).read_bytes().startswith(stored):
            raise EvidenceDamaged(
                f"{self._folder / PUBLIC_FILE} does not go on from the keys in {self.target.shown}",
                hint="mas audit verify --key FILE",
                path=str(self._folder / PUBLIC_FILE),
            )
        for name in _ROOT_FILES:
            self.copy_file(self._folder / name)

    def copy_file(self, path: Path) -> None:
        """Copy a small file of the evidence folder as it is, where the archive has not the same.

        Raises:
            ArchiveUnavailable: The archive does not take it, or gives another one back.
        """
        try:
            with open_plain(path) as file:
                content = file.read()
        except FileNotFoundError:
            return
        name = path.relative_to(self._folder).as_posix()
        if self._stored_bytes(name) == content:
            return
        self.target.put(name, io.BytesIO(content))
        if self._stored_bytes(name) != content:
            raise ArchiveUnavailable(
                f"the archive gave back something else than it took: {self.target.shown}/{name}",
                url=self.target.shown,
                file=name,
            )

    def _stored_bytes(self, name: str) -> bytes | None:
        return stored_bytes(self.target, name)


def stored_bytes(target: ArchiveTarget, name: str) -> bytes | None:
    """A small file of an archive; None when it is not there.

    Raises:
        ArchiveUnavailable: The archive does not answer.
    """
    file = target.open(name)
    if file is None:
        return None
    with closing(file):
        return file.read()


def archived_name(segment: Segment) -> str:
    """The name of a segment in the archive."""
    return f"{segment.path.parent.name}/{segment.path.name}"


def checkpoints_name(segment: Segment) -> str:
    """The name of the file with the checkpoints that were signed while a segment grew."""
    return f"{segment.path.parent.name}/{segment.path.name.removesuffix('.jsonl.zst')}.checkpoints"


def hashes_name(segment: Segment) -> str:
    """The name of the file with the tree hashes of a segment that was deleted."""
    return f"{segment.path.parent.name}/{segment.path.name.removesuffix('.jsonl.zst')}.hashes"


def plain_pieces(file: BinaryIO) -> Iterator[bytes]:
    """What a compressed segment decompresses to, piece by piece.

    Raises:
        zstandard.ZstdError: It does not.
        OSError: It cannot be read.
    """
    unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    with unpacker.stream_reader(file, read_across_frames=True, closefd=False) as stream:
        while piece := stream.read(_CHUNK):
            yield piece


def _with_notes(reader: EvidenceReader, segments: Sequence[Segment]) -> Iterator[tuple[Segment, list[bytes]]]:
    """Each of these segments, which are in order, with the checkpoints whose size lies in it but for its end."""
    notes = reader.checkpoints()
    note = next(notes, None)
    for segment in segments:
        found = []
        while note is not None and (size := _size_of(note)) <= segment.last:
            if segment.first <= size < segment.last:
                found.append(note.rstrip(b"\n") + b"\n\n")
            note = next(notes, None)
        yield segment, found


def _size_of(note: bytes) -> int:
    """The size that a checkpoint names; 0 for what is none, which stays behind for `mas audit verify` to find."""
    try:
        return Checkpoint.parse(Note.parse(note).text).size
    except NoteInvalid:
        return 0
