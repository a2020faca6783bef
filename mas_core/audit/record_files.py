"""Records of a partition by their number, wherever in its folder they lie, without reading what lies before.

A segment is a row of zstd frames of 256 records. Where each begins is read off the frame headers; a segment
that is made otherwise is read as a whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from mas_core.audit.evidence_reader import EvidenceReader, Segment, open_plain
from mas_core.audit.index import BLOCK_RECORDS
from mas_core.errors import ChainBroken

MAX_FRAME_BYTES: Final = 64 << 20
"""What a frame may hold at most; a larger one is none of ours and is read in pieces."""
_KEPT_TABLES: Final = 512
_KEPT_FRAMES: Final = 4
_RAW_BLOCK, _RLE_BLOCK, _CODED_BLOCK = 0, 1, 2

Warn = Callable[[str], None]


class Span(NamedTuple):
    """Numbers of records, both ends included."""

    first: int
    last: int


class RecordFiles:
    """The records that a partition's folder held when this was made.

    Args:
        folder: The evidence folder, or an export of one.
        partition: Which partition.
        warn: Told in words what cannot be read.
    """

    def __init__(self, folder: Path, partition: int, warn: Warn) -> None:
        reader = EvidenceReader(folder, partition)
        self.path = reader.path
        self._warn = warn
        self._warned: set[Path] = set()
        self._segments = _without_overlaps(reader.segments())
        last = self._segments[-1].last if self._segments else 0
        self._tail: list[bytes] = []
        self._tail_first = last + 1
        # What moves from the open file into a segment meanwhile comes from there.
        for block in reader.blocks(last + 1):
            if not self._tail:
                self._tail_first = block.first
            self._tail += block.records
        self._tables: OrderedDict[Path, list[tuple[int, int]] | None] = OrderedDict()
        self._frames: OrderedDict[tuple[Path, int], bytes] = OrderedDict()

    @property
    def spans(self) -> list[Span]:
        """Which records are here, in order; neighbours joined."""
        found: list[Span] = []
        ends = [Span(segment.first, segment.last) for segment in self._segments]
        if self._tail:
            ends.append(Span(self._tail_first, self._tail_first + len(self._tail) - 1))
        for span in ends:
            if found and found[-1].last + 1 == span.first:
                found[-1] = Span(found[-1].first, span.last)
            else:
                found.append(span)
        return found

    @property
    def size(self) -> int:
        """Number of the newest record; 0 when there is none."""
        spans = self.spans
        return spans[-1].last if spans else 0

    def read(self, first: int, last: int) -> list[tuple[int, bytes]]:
        """Number and bytes of the records in a span that are here and can be read."""
        found: list[tuple[int, bytes]] = []
        for segment in self._segments:
            if segment.first <= last and first <= segment.last:
                found += self._of_segment(segment, max(first, segment.first), min(last, segment.last))
        begin = max(first, self._tail_first) - self._tail_first
        end = last - self._tail_first + 1
        if begin < end:
            found += enumerate(self._tail[begin:end], self._tail_first + begin)
        return found

    def text(self, first: int, last: int) -> bytes | None:
        """The lines of these records as one text, if they are one frame of a segment; it is found faster there."""
        for segment in reversed(self._segments):
            if segment.first <= first:
                number, rest = divmod(first - segment.first, BLOCK_RECORDS)
                table = None if rest or last > segment.last else self._table(segment)
                if table is None or last - first + 1 != BLOCK_RECORDS:
                    return None
                return self._frame(segment, number, table[number])
        return None

    def _of_segment(self, segment: Segment, first: int, last: int) -> list[tuple[int, bytes]]:
        table = self._table(segment)
        found: list[tuple[int, bytes]] = []
        if table is not None:
            for number in range(
                (first - segment.first) // BLOCK_RECORDS, (last - segment.first) // BLOCK_RECORDS + 1
            ):
                text = self._frame(segment, number, table[number])
                if text is None:
                    break
                records = text[:-1].split(b"\n")
                at = segment.first + number * BLOCK_RECORDS
                found += enumerate(records[max(0, first - at) : last - at + 1], max(first, at))
            else:
                return found
        return self._slowly(segment, first, last)

    def _slowly(self, segment: Segment, first: int, last: int) -> list[tuple[int, bytes]]:
        """Read a segment that has no frames of ours, as far as it can be read."""
        found: list[tuple[int, bytes]] = []
        at = segment.first
        try:
            for lines in segment.blocks():
                found += [item for item in enumerate(lines, at) if first <= item[0] <= last]
                at += len(lines)
                if at > last:
                    break
        except ChainBroken as error:
            at = int(str(error.details.get("sequence", at)))
        if at <= last and segment.path not in self._warned:
            self._warned.add(segment.path)
            self._warn(
                f"the segment {segment.path.name} cannot be read from record {at} on, so records to "
                f"{segment.last} may lack here; mas audit restore brings an archived copy back"
            )
        return found

    def _table(self, segment: Segment) -> list[tuple[int, int]] | None:
        """Offset and length of each frame; None when they are not what is expected."""
        if segment.path in self._tables:
            self._tables.move_to_end(segment.path)
            return self._tables[segment.path]
        try:
            with open_plain(segment.path) as file:
                table: list[tuple[int, int]] | None = list(_frames(file.read()))
        except (OSError, ValueError, zstandard.ZstdError):
            table = None
        records = segment.last - segment.first + 1
        if table is not None and len(table) != -(-records // BLOCK_RECORDS):
            table = None
        self._tables[segment.path] = table
        if len(self._tables) > _KEPT_TABLES:
            self._tables.popitem(last=False)
        return table

    def _frame(self, segment: Segment, number: int, place: tuple[int, int]) -> bytes | None:
        key = (segment.path, number)
        if key in self._frames:
            return self._frames[key]
        count = min(BLOCK_RECORDS, segment.last - segment.first + 1 - number * BLOCK_RECORDS)
        try:
            with open_plain(segment.path) as file:
                file.seek(place[0])
                data = file.read(place[1])
            if not 0 < zstandard.get_frame_parameters(data).content_size <= MAX_FRAME_BYTES:
                return None
            text = zstandard.ZstdDecompressor().decompress(data)
        except (OSError, zstandard.ZstdError):
            return None
        if not text.endswith(b"\n") or text.count(b"\n") != count:
            return None
        self._frames[key] = text
        if len(self._frames) > _KEPT_FRAMES:
            self._frames.popitem(last=False)
        return text


def _without_overlaps(segments: list[Segment]) -> list[Segment]:
    """Each record once: of two segments with the same records the first counts."""
    found: list[Segment] = []
    for segment in segments:
        if not found or segment.first > found[-1].last:
            found.append(segment)
    return found


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Offset and length of each zstd frame (RFC 8878, section 3.1.1).

    Raises:
        ValueError, zstandard.ZstdError: These are no whole frames.
    """
    offset = 0
    while offset < len(data):
        head = data[offset : offset + 18]
        at = offset + zstandard.frame_header_size(head)
        is_last = False
        while not is_last:
            header = int.from_bytes(data[at : at + 3], "little")
            is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            if kind not in {_RAW_BLOCK, _RLE_BLOCK, _CODED_BLOCK}:
                raise ValueError("a block of a reserved kind")
            at += 3 + (1 if kind == _RLE_BLOCK else size)
        at += 4 if zstandard.get_frame_parameters(head).has_checksum else 0
        if at > len(data):
            raise ValueError("a frame ends in the middle")
        yield offset, at - offset
        offset = at
