"""Holds the records of a log against its chain, its tree and its signed checkpoints, in one pass.

This pass is made to be fast, and stops at the first thing that does not fit; `diagnosis` then says what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.merkle import HASH_SIZE, TreeHead, stored_count
from mas_core.model.audit_record import GENESIS

ReadHashes = Callable[[int, int], bytes]
"""Gives stored tree hashes from a place on: at most so many, one after the other."""


class Link(msgspec.Struct):
    """What links a record to the one before."""

    seq: int
    prev: str


read_link = msgspec.json.Decoder(Link).decode


@dataclass(slots=True)
class Start:
    """Where verification begins: behind the record `size`, of which the tree and perhaps the hash are known."""

    size: int = 0
    head: str | None = GENESIS
    """Hash of the record `size`, hex; None when it is not known."""
    tree: TreeHead | None = None


class LogVerifier:
    """Takes records in order, as long as everything fits.

    Args:
        checkpoints: Trusted checkpoints by size; those up to the start are passed over.
        read_hashes: Stored hashes of the tree; they need not be right, or there.
        start: Where to begin.
    """

    def __init__(
        self,
        checkpoints: Iterator[Checkpoint],
        read_hashes: ReadHashes | None = None,
        start: Start | None = None,
    ) -> None:
        start = start or Start()
        self._checkpoints = checkpoints
        self._read_hashes = read_hashes
        self._tree = start.tree or TreeHead()
        self.size = start.size
        """Number of the last record that fitted."""
        self.head = start.head
        """Its hash, hex."""
        self.trusted = Start(start.size, start.head)
        """The last record that a checkpoint proved."""
        self.first_odd: int | None = None
        """Number of the first record that does not fit, or of one shortly after it."""
        self.is_hash_odd = False
        """Whether it is only the stored hashes that it does not fit."""
        self.pending = next(checkpoints, None)
        """The next checkpoint; it, and those after it, are not looked at yet."""
        while self.pending is not None and self.pending.size <= start.size:
            self._advance()

    def feed(self, records: Sequence[bytes]) -> bool:
        """Take the next records; False as soon as something does not fit."""
        at = 0
        while at < len(records) and self.first_odd is None:
            end = len(records) if self.pending is None else at + self.pending.size - self.size
            self._take(records[at:end])
            at = end
            while self.first_odd is None and self.pending is not None and self.pending.size == self.size:
                self._check(self.pending)
        return self.first_odd is None

    def drop_hashes(self) -> None:
        """Go on without the stored hashes, which were found to be wrong."""
        self._read_hashes = None
        self.first_odd, self.is_hash_odd = None, False

    def _take(self, records: Sequence[bytes]) -> None:
        seq, head = self.size, self.head
        leaves = []
        odd = None
        for record in records:
            try:
                link = read_link(record)
            except (ValueError, RecursionError):
                odd = seq + 1
                break
            if link.seq != seq + 1 or (link.prev != head and head is not None):
                odd = seq + 1
                break
            seq += 1
            head = sha256(record).hexdigest()
            leaves.append(sha256(b"\x00" + record).digest())
        place = stored_count(self.size)
        hashes = b"".join(self._tree.extend(leaves))
        if self._read_hashes is not None:
            stored = self._read_hashes(place, len(hashes) // HASH_SIZE)
            if stored != hashes[: len(stored)]:
                odd, self.is_hash_odd = self._leaf_of(self.size, stored, hashes), True
        self.size, self.head, self.first_odd = seq, head, odd

    @staticmethod
    def _leaf_of(size: int, stored: bytes, hashes: bytes) -> int:
        """Number of the record with which the first stored hash came that is another one."""
        at = 0
        while stored[at : at + HASH_SIZE] == hashes[at : at + HASH_SIZE]:
            at += HASH_SIZE
        place = stored_count(size) + at // HASH_SIZE
        while stored_count(size + 1) <= place:
            size += 1
        return size + 1

    def _check(self, checkpoint: Checkpoint) -> None:
        is_head = checkpoint.head in {"", self.head}
        if checkpoint.root != self._tree.root() or not is_head:
            self.first_odd = self.size
            return
        self.trusted = Start(self.size, self.head)
        self._advance()

    def _advance(self) -> None:
        self.pending = next(self._checkpoints, None)
