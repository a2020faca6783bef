"""Records in plain files: JSON Lines as exported, or closed segments, one file after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mas_core.audit.diagnosis import link_of
from mas_core.audit.evidence_reader import (
    MAX_RECORD_BYTES,
    Block,
    Segment,
    line_blocks,
    open_plain,
)
from mas_core.errors import ChainBroken


class PlainFiles:
    """Reads like an `EvidenceReader`, without hashes and checkpoints.

    Args:
        paths: The files, oldest records first; those that end in `.zst` are closed segments.

    Raises:
        OSError: One cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self.first = self._first()
        """The number that the first record gives itself; 1 when it gives none."""

    def blocks(self, first: int = 1, last: int | None = None) -> Iterator[Block]:
        """The records from a number on, by their place in the files."""
        at = self.first
        for path in self._paths:
            for lines in self._lines(path, at):
                end = len(lines) if last is None else max(0, last - at + 1)
                part = lines[max(0, first - at) : end]
                if part:
                    yield Block(max(first, at), part)
                at += len(lines)

    def records(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """As `blocks`, one by one."""
        for block in self.blocks(first, last):
            yield from enumerate(block.records, block.first)

    def segments(self) -> list[Segment]:
        """None: no file says which records it ought to hold."""
        return []

    def read_hash(self, place: int) -> bytes:
        """None is there.

        Raises:
            ChainBroken: Always.
        """
        raise ChainBroken(f"no hash of the tree is stored; {place} was asked for")

    def read_hashes(self, place: int, count: int) -> bytes:  # noqa: ARG002 - as EvidenceReader has it
        """None is there."""
        return b""

    @staticmethod
    def _lines(path: Path, at: int) -> Iterator[list[bytes]]:
        if path.suffix == ".zst":
            yield from Segment(at, at, path).blocks()
            return
        with open_plain(path) as file:
            yield from line_blocks(file, keep_torn=True)

    def _first(self) -> int:
        if not self._paths:
            return 1
        lines = next(self._lines(self._paths[0], 1), [b""])
        link = link_of(lines[0][:MAX_RECORD_BYTES])
        return link.seq if link is not None and link.seq > 0 else 1
