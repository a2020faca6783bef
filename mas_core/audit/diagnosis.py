"""Says what was done to a log: from its lines, and from what is known of the records that belong there.

What is known comes from the tree, when a checkpoint's root proves the stored hashes, or else from the chain,
followed back from the hash of a record that a checkpoint names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.log_verify import Link, read_link
from mas_core.audit.merkle import (
    ReadHash,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    stored_place,
    verify_consistency,
    verify_inclusion,
)
from mas_core.audit.verify import Tampering
from mas_core.errors import MasError

_STRAYS: Final = 1_024
"""Linked records that can have been put in before a log counts as rewritten."""


class Diagnosis(NamedTuple):
    """What was done, and which record is the first that is not what it was."""

    kind: Tampering
    first_bad: int
    problem: str


class Truth(Protocol):
    """What is known of the records that belong into a log."""

    def of(self, seq: int) -> bytes | None:
        """What identifies record `seq`; None when that is not known."""

    def identity(self, record: bytes) -> bytes:
        """What identifies this record."""


class SignedTruth:
    """The leaves of the tree that a checkpoint proves, each by its inclusion proof.

    Args:
        read_hash: Gives a stored hash of the tree.
        checkpoints: Trusted checkpoints by size.
    """

    def __init__(self, read_hash: ReadHash, checkpoints: Sequence[Checkpoint]) -> None:
        self._read_hash = read_hash
        self._newest = checkpoints[-1] if checkpoints else None

    def of(self, seq: int) -> bytes | None:
        """The hash of the leaf, if it is proven."""
        newest = self._newest
        if newest is None or not 0 < seq <= newest.size:
            return None
        try:
            leaf = self._read_hash(stored_place(0, seq - 1))
            proof = inclusion_proof(seq - 1, newest.size, self._read_hash)
        except MasError:
            return None
        return leaf if verify_inclusion(leaf, seq - 1, newest.size, proof, newest.root) else None

    def identity(self, record: bytes) -> bytes:
        """The hash of its leaf."""
        return leaf_hash(record)

    def begins_with(self, size: int) -> bool:
        """Whether the stored hashes of the first so many records are proven."""
        newest = self._newest
        if newest is None or not 0 < size <= newest.size:
            return size == 0
        try:
            proof = consistency_proof(size, newest.size, self._read_hash)
            return verify_consistency(size, newest.size, proof, root_of(size, self._read_hash), newest.root)
        except MasError:
            return False


class ChainTruth:
    """What the links say of a stretch of a log.

    Args:
        lines: The stretch.
        first: Number of the record that belongs at its beginning.
        before: Hash of the record before it; None when it is not known.
        anchors: Number and hash of records, from checkpoints; the links lead back from them.
    """

    def __init__(
        self, lines: Sequence[bytes], first: int, before: str | None, anchors: Iterable[tuple[int, str]]
    ) -> None:
        links = [link_of(line) for line in lines]
        hashes = [sha256(line).hexdigest() for line in lines]
        self._known: dict[int, str] = {}
        self._lead_back(links, hashes, first, sorted(anchors, reverse=True))
        seq, head = first, before
        for link, found in zip(links, hashes, strict=True):
            if link is None or link.seq != seq or (head is not None and link.prev != head):
                break
            if self._known.setdefault(seq, found) != found:
                break
            seq, head = seq + 1, found

    def of(self, seq: int) -> bytes | None:
        """The hash of the record, if the links say it."""
        found = self._known.get(seq)
        return found.encode() if found is not None else None

    def identity(self, record: bytes) -> bytes:
        """Its hash."""
        return sha256(record).hexdigest().encode()

    def _lead_back(
        self,
        links: Sequence[Link | None],
        hashes: Sequence[str],
        first: int,
        anchors: Iterable[tuple[int, str]],
    ) -> None:
        place_of = {found: place for place, found in enumerate(hashes)}

        def lead_back(seq: int, head: str) -> dict[int, str]:
            """What follows from the hash of a record; nothing when it contradicts what is known."""
            found: dict[int, str] = {}
            while seq >= first and seq not in self._known:
                found[seq] = head
                place = place_of.get(head)
                link = links[place] if place is not None else None
                if link is None:
                    return found
                if link.seq != seq:
                    return {}
                seq, head = seq - 1, link.prev
            return found if self._known.get(seq, head) == head else {}

        for anchor, anchor_hash in anchors:
            self._known.update(lead_back(anchor, anchor_hash))
        # Nobody vouches for the last line, but where nothing else is known it is more than nothing.
        last = next((place for place in range(len(links) - 1, -1, -1) if links[place] is not None), None)
        end = links[last] if last is not None else None
        if end is not None and last is not None:
            self._known.update(lead_back(end.seq, hashes[last]))


def diagnose(lines: Sequence[bytes], first: int, truth: Truth) -> Diagnosis | None:
    """What was done to a stretch of a log; None when nothing that is known speaks against it.

    Args:
        lines: The stretch, to the end of the log or for some thousands of records.
        first: Number of the record that belongs at its beginning.
        truth: What is known.
    """
    for place in range(len(lines) + 1):
        wanted = truth.of(first + place)
        if wanted is not None and (place == len(lines) or truth.identity(lines[place]) != wanted):
            return _classified(lines[place:], first + place, truth)
    return None


def _classified(lines: Sequence[bytes], seq: int, truth: Truth) -> Diagnosis:
    """What the line is that stands where record `seq` belongs."""
    if not lines:
        return Diagnosis(Tampering.TRUNCATED, seq, f"the log ends before record {seq}")
    link = link_of(lines[0])
    if link is not None and link.seq != seq and truth.of(link.seq) == truth.identity(lines[0]):
        return _displaced(lines, seq, link.seq, truth)
    is_linked = _is_linked(lines)
    # A forged log that is linked goes on to its end; a stray record in an honest one is followed by honest ones.
    for count, line in enumerate(lines[1:_STRAYS] if is_linked else lines[1:], 1):
        following = link_of(line)
        if following is None or following.seq < seq or truth.of(following.seq) != truth.identity(line):
            continue
        if following.seq == seq and all(link_of(line) is not None for line in lines[:count]):
            return Diagnosis(Tampering.INSERTED, seq, f"what stands at record {seq} was put in")
        if count > 1 and is_linked:
            break
        return Diagnosis(Tampering.EDITED, seq, f"record {seq} was changed")
    if is_linked:
        return Diagnosis(Tampering.REWRITTEN, seq, f"the log was rewritten from record {seq} on")
    return Diagnosis(Tampering.EDITED, seq, f"record {seq} was changed")


def _displaced(lines: Sequence[bytes], seq: int, found: int, truth: Truth) -> Diagnosis:
    """A record of this log stands in the place of another one."""
    if found < seq:
        return Diagnosis(
            Tampering.DUPLICATED, seq, f"record {found} stands a second time, where {seq} belongs"
        )
    wanted = truth.of(seq)
    comes_later = any(truth.identity(line) == wanted for line in lines[1:])
    next_fits = len(lines) > 1 and truth.of(seq + 1) == truth.identity(lines[1])
    if comes_later or next_fits:
        return Diagnosis(Tampering.REORDERED, seq, f"record {found} stands where {seq} belongs")
    gone = f"record {seq} is" if found == seq + 1 else f"records {seq} to {found - 1} are"
    return Diagnosis(Tampering.DELETED, seq, f"{gone} missing")


def _is_linked(lines: Sequence[bytes]) -> bool:
    """Whether the second line holds the hash of the first, which no edit brings about."""
    link = link_of(lines[1]) if len(lines) > 1 else None
    return link is not None and link.prev == sha256(lines[0]).hexdigest()


def link_of(line: bytes) -> Link | None:
    """What links a line to the one before; None when it is no record."""
    try:
        return read_link(line)
    except (ValueError, RecursionError):
        return None
