"""Reads what the notary wrote of one partition: records, tree hashes and checkpoints, in constant memory.

An export has the same shape, so it is read alike. Nothing here is proven: what a folder says of itself, its
file names included, is a claim until `checkpoint_verify` has looked. The order of opening matters while the
notary writes: what is appended later is not seen, and records that move from `open.jsonl` into a segment
meanwhile come once.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self

import msgspec
import zstandard

from mas_core.audit.merkle import HASH_SIZE
from mas_core.errors import ChainBroken

OPEN_NAME: Final = "open.jsonl"
HASHES_NAME: Final = "hashes"
CHECKPOINTS_NAME: Final = "checkpoints"
MAX_RECORD_BYTES: Final = 16 << 20
"""No record is longer; what is gets cut, so that one line cannot fill the memory."""
MAX_NOTE_BYTES: Final = 1 << 20
_CHUNK = 256 << 10
_MAX_WINDOW = 64 << 20
_SEGMENT_NAME: Final = re.compile(r"([0-9]{12,18})-([0-9]{12,18})\.jsonl\.zst")


class _Number(msgspec.Struct):
    seq: int


_read_number = msgspec.json.Decoder(_Number).decode


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A closed segment: by its name it holds the records `first` to `last`."""

    first: int
    last: int
    path: Path

    def blocks(self) -> Iterator[list[bytes]]:
        """Its lines, some at a time, whatever its name says.

        Raises:
            ChainBroken: It cannot be decompressed from some line on, or the last line has no end;
                `sequence` is the number of the first record that cannot be had.
        """
        seen = 0
        rest = b""
        try:
            with (
                open_plain(self.path) as file,
                zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
                    file, read_across_frames=True
                ) as stream,
            ):
                while chunk := stream.read1(_CHUNK):
                    lines, rest = _split(rest, chunk)
                    if lines:
                        seen += len(lines)
                        yield lines
        except (OSError, zstandard.ZstdError) as error:
            raise self._damaged(seen) from error
        if rest:
            raise self._damaged(seen)

    def _damaged(self, seen: int) -> ChainBroken:
        first = self.first + seen
        return ChainBroken(
            f"the segment {self.path.name} cannot be read from record {first} on",
            hint=("mas audit verify", "mas audit restore"),
            path=str(self.path),
            sequence=first,
        )


class Block(NamedTuple):
    """Some records after each other; `first` is the number of the first one by its place in the files."""

    first: int
    records: list[bytes]


class EvidenceReader:
    """One partition of an evidence folder, or of an export of one.

    Args:
        folder: The evidence folder; the partition lies in `p<P>` in it.
        partition: Which partition.
    """

    def __init__(self, folder: Path, partition: int) -> None:
        self.path = folder / f"p{partition}"
        self.partition = partition
        self._hashes: BinaryIO | None = None

    def segments(self) -> list[Segment]:
        """The closed segments by number; of the records between them, some may be archived elsewhere."""
        try:
            paths = list(self.path.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = [
            Segment(int(match[1]), int(match[2]), path)
            for path in paths
            if (match := _SEGMENT_NAME.fullmatch(path.name))
        ]
        return sorted(segment for segment in found if 0 < segment.first <= segment.last)

    @property
    def size(self) -> int:
        """Number of the newest record; 0 when there is none."""
        with self._opened() as (file, segments):
            last = segments[-1].last if segments else 0
            for block in _open_blocks(file, segments):
                last = block.first + len(block.records) - 1
        return last

    def blocks(self, first: int = 1, last: int | None = None) -> Iterator[Block]:
        """The records `first` to `last` that are here, some at a time; what is missing is passed over.

        Raises:
            ChainBroken: A segment cannot be read; `sequence` is the number of its first unreadable record.
        """
        with self._opened() as (file, segments):
            for segment in segments:
                if segment.last < first or (last is not None and segment.first > last):
                    continue
                at = segment.first
                for lines in segment.blocks():
                    if part := _within(at, lines, first, last):
                        yield part
                    at += len(lines)
            for block in _open_blocks(file, segments):
                if last is not None and block.first > last:
                    return
                if part := _within(block.first, block.records, first, last):
                    yield part

    def records(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Number and stored bytes of the records `first` to `last` that are here.

        Raises:
            ChainBroken: A segment cannot be read; `sequence` is the number of its first unreadable record.
        """
        for block in self.blocks(first, last):
            yield from enumerate(block.records, block.first)

    def record(self, seq: int) -> bytes | None:
        """The stored bytes of one record; None when it is not here.

        Raises:
            ChainBroken: Its segment cannot be read.
        """
        return next((text for _, text in self.records(seq, seq)), None)

    @property
    def hash_count(self) -> int:
        """How many whole hashes of the tree are stored."""
        try:
            return (self.path / HASHES_NAME).stat().st_size // HASH_SIZE
        except FileNotFoundError:
            return 0

    def read_hash(self, place: int) -> bytes:
        """The hash at a place of the tree's sequence, as `merkle` wants it.

        Raises:
            ChainBroken: It is not there.
        """
        found = self.read_hashes(place, 1)
        if len(found) < HASH_SIZE:
            raise ChainBroken(
                f"the hash {place} of the tree is missing in {self.path / HASHES_NAME}",
                hint="mas audit verify",
                path=str(self.path / HASHES_NAME),
            )
        return found

    def read_hashes(self, place: int, count: int) -> bytes:
        """Hashes from a place on, one after the other; fewer where the file ends."""
        if self._hashes is None:
            try:
                self._hashes = open_plain(self.path / HASHES_NAME)
            except OSError:
                return b""
        return os.pread(self._hashes.fileno(), count * HASH_SIZE, place * HASH_SIZE)

    def checkpoints(self) -> Iterator[bytes]:
        """The signed notes as they are stored, oldest first, as far as they are there now.

        What stands behind the last whole note comes too: whoever checks it refuses it.
        """
        return notes_in(self.path / CHECKPOINTS_NAME)

    def close(self) -> None:
        """Close what is open."""
        if self._hashes is not None:
            self._hashes.close()
            self._hashes = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO | None, list[Segment]]]:
        """`open.jsonl` and the segments beside it; the file first, so that no record is overlooked."""
        try:
            file = open_plain(self.path / OPEN_NAME)
        except FileNotFoundError:
            yield None, self.segments()
            return
        with file:
            yield file, self.segments()


def open_plain(path: Path) -> BinaryIO:
    """A plain file for reading; a link, a pipe or a device is refused.

    Raises:
        OSError: It is none, or is not there.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path} is not a plain file")
    return file


def notes_in(path: Path) -> Iterator[bytes]:
    """The signed notes of a file with one after the other, as far as they are there now."""
    try:
        file = open_plain(path)
    except FileNotFoundError:
        return iter(())
    return _notes(file, os.fstat(file.fileno()).st_size)


def _notes(file: BinaryIO, end: int) -> Iterator[bytes]:
    with file:
        lines: list[bytes] = []
        empty = size = 0
        while end > 0 and (line := file.readline(min(end, MAX_NOTE_BYTES))):
            end -= len(line)
            size += len(line)
            if line == b"\n":
                empty += 1
                if empty == 2:
                    yield b"".join(lines)
                    lines, empty, size = [], 0, 0
                    continue
            lines.append(line)
            if size > MAX_NOTE_BYTES:
                yield b"".join(lines)
                lines, empty, size = [], 0, 0
        if lines:
            yield b"".join(lines)


def _open_blocks(file: BinaryIO | None, segments: list[Segment]) -> Iterator[Block]:
    """The whole lines of `open.jsonl`, without those that the last segment took over."""
    if file is None:
        return
    file.seek(0)
    first_line = file.readline(MAX_RECORD_BYTES).rstrip(b"\n")
    file.seek(0)
    claimed = _number_of(first_line)
    taken = _taken_over(first_line, claimed, segments)
    at = segments[-1].last + 1 if segments else 1
    if not taken:
        at = max(at, claimed)
    for whole in line_blocks(file):
        lines = whole
        if taken:
            lines, taken = lines[taken:], max(0, taken - len(lines))
        if lines:
            yield Block(at, lines)
            at += len(lines)


def line_blocks(file: BinaryIO, *, keep_torn: bool = False) -> Iterator[list[bytes]]:
    """The lines of a plain file, some at a time.

    Args:
        file: The file.
        keep_torn: Give what stands behind the last line break, too.
    """
    rest = b""
    while chunk := file.read(_CHUNK):
        lines, rest = _split(rest, chunk)
        if lines:
            yield lines
    if rest and keep_torn:
        yield [rest]


def _taken_over(first_line: bytes, claimed: int, segments: list[Segment]) -> int:
    """How many lines of `open.jsonl` stand in the last segment: all of it, between two steps of the notary."""
    if not segments or claimed != segments[-1].first:
        return 0
    last = segments[-1]
    try:
        is_same = next(last.blocks())[0] == first_line
    except (StopIteration, ChainBroken):
        return 0
    return last.last - last.first + 1 if is_same else 0


def _number_of(record: bytes) -> int:
    try:
        return _read_number(record).seq
    except (ValueError, RecursionError):
        return 0


def _split(rest: bytes, chunk: bytes) -> tuple[list[bytes], bytes]:
    lines = (rest + chunk).split(b"\n")
    rest = lines.pop()
    if len(rest) > MAX_RECORD_BYTES:
        lines.append(rest)
        rest = b""
    return lines, rest


def _within(at: int, lines: list[bytes], first: int, last: int | None) -> Block | None:
    begin = max(0, first - at)
    end = len(lines) if last is None else min(len(lines), last - at + 1)
    return Block(at + begin, lines[begin:end]) if begin < end else None
