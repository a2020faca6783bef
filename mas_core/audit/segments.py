"""Closed segments of a log: JSON Lines in zstd frames of 256 records each, one after the other in one file.

The file as a whole decompresses to the plain lines with any zstd; a frame is what is read for one record.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zstandard

from mas_core.audit.durable_files import sync_folder, write_all
from mas_core.errors import EvidenceDamaged

SEGMENT_RECORDS: Final = 65_536
"""Records after which a segment is closed."""
SEGMENT_BYTES: Final = 32 * 1024 * 1024
"""Bytes of plain text after which a segment is closed before that."""
FRAME_RECORDS: Final = 256
MAX_FRAME_BYTES: Final = 2 * SEGMENT_BYTES
"""What a frame may hold at most; a larger one was not written here."""

_LEVEL = 1
_CHUNK = 1 << 16
_NAME = re.compile(r"([0-9]{12,19})-([0-9]{12,19})\.jsonl\.zst")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A closed segment and what its name says it holds."""

    first: int
    last: int
    path: Path


@dataclass(frozen=True, slots=True)
class Frame:
    """Some records of a segment, and where in its file they are."""

    first: int
    last: int
    offset: int
    length: int


def segment_name(first: int, last: int) -> str:
    """The name of the file with these records."""
    return f"{first:012d}-{last:012d}.jsonl.zst"


def segments_in(folder: Path) -> list[Segment]:
    """The closed segments of a partition's folder, in order."""
    named = ((path, _NAME.fullmatch(path.name)) for path in folder.iterdir())
    return sorted(Segment(int(match[1]), int(match[2]), path) for path, match in named if match)


def write_segment(folder: Path, first: int, records: Sequence[bytes], digest: bytes) -> list[Frame]:
    """Write a closed segment; it has its name only once it is on the disk and was read back.

    Args:
        folder: Of the partition.
        first: Number of the first record.
        records: At least one.
        digest: SHA-256 of their lines as they were taken in.

    Raises:
        EvidenceDamaged: What was read back are not these records.
        OSError: The folder does not take it.
    """
    path = folder / segment_name(first, first + len(records) - 1)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    frames: list[Frame] = []
    offset = 0
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for start in range(0, len(records), FRAME_RECORDS):
            part = records[start : start + FRAME_RECORDS]
            data = compressor.compress(b"\n".join((*part, b"")))
            write_all(descriptor, data)
            frames.append(Frame(first + start, first + start + len(part) - 1, offset, len(data)))
            offset += len(data)
        os.fsync(descriptor)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    found = hashlib.sha256()
    for text in segment_frames(draft):
        found.update(text)
    if found.digest() != digest:
        draft.unlink(missing_ok=True)
        raise EvidenceDamaged(
            f"{path} was read back and holds other records than were taken in", path=str(path)
        )
    draft.replace(path)
    sync_folder(folder)
    return frames


def segment_records(path: Path) -> Iterator[bytes]:
    """The records of a segment, one frame in memory at a time.

    Raises:
        EvidenceDamaged: It does not decompress to whole lines.
        OSError: It cannot be read.
    """
    for text in segment_frames(path):
        if not text.endswith(b"\n"):
            raise EvidenceDamaged(f"{path} does not hold whole records", path=str(path))
        yield from text[:-1].split(b"\n")


def segment_frames(path: Path) -> Iterator[bytes]:
    """The plain text of each frame of a segment; errors as for `segment_records`."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        rest = b""
        while data := rest or file.read(_CHUNK):
            frame = zstandard.ZstdDecompressor().decompressobj()
            pieces: list[bytes] = []
            size = 0
            while True:
                try:
                    pieces.append(frame.decompress(data))
                except zstandard.ZstdError as error:
                    raise EvidenceDamaged(f"{path} is damaged: {error}", path=str(path)) from error
                size += len(pieces[-1])
                if size > MAX_FRAME_BYTES:
                    raise EvidenceDamaged(f"a frame of {path} is too large", path=str(path))
                if frame.eof:
                    break
                data = file.read(_CHUNK)
                if not data:
                    raise EvidenceDamaged(f"{path} ends in the middle", path=str(path))
            rest = frame.unused_data
            yield b"".join(pieces)
