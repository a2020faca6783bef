"""Proves a chain of audit records, or names the first record that is not what was written.

Memory does not grow with the chain. A single edit, deletion, insertion, repetition or swap is named exactly;
of several changes next to each other, a neighbour may be named instead of the first. A tail that was cut off
together with the head of the chain, or a chain that was rewritten to its end, only shows against a hash that
was kept elsewhere: give it to `finish`.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from mas_core.audit.chain import record_hash
from mas_core.model.audit_record import GENESIS

REMEMBERED: Final = 1024
"""Records looked back at to find where records were put in between."""


class VerifyResult(msgspec.Struct, frozen=True):
    """What verification found."""

    ok: bool
    records: int
    """Records that were read."""
    first_bad: int | None
    """Number of the first record that was changed, is missing, or does not belong there."""
    problem: str
    """What is wrong with it, in words."""
    verified_to: int
    """Up to this number each record's hash was found again, in the record after it or in the given head."""
    head: str
    """When `ok`, the hash of the last record; otherwise that of the record `verified_to`, if still known."""
    kind: str = ""
    """One of `Tampering` when something is wrong and its kind is known."""
    place: str = "store"
    """Where the records were read: store, folder or files."""
    first: int = 1
    """Number of the first record that is at hand; those before it are known by their hashes only."""
    covered: int = 0
    """Number of the last record that a trusted checkpoint covers."""
    checkpoints: int = 0
    """Checkpoints whose signatures and roots hold."""
    notes: tuple[str, ...] = ()
    """What to know besides, in words."""


class Tampering(StrEnum):
    """What can be wrong with a log."""

    EDITED = "edited"
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    DUPLICATED = "duplicated"
    TRUNCATED = "truncated"
    ROLLED_BACK = "rolled_back"
    REWRITTEN = "rewritten"
    SEGMENT_MISSING = "segment_missing"
    CHECKPOINT_FORGED = "checkpoint_forged"
    CHECKPOINT_MISSING = "checkpoint_missing"
    KEY_REPLACED = "key_replaced"


class _Link(msgspec.Struct):
    seq: int
    prev: str


class _Seen(NamedTuple):
    position: int
    """The number that the store gives it."""
    seq: int
    """The number that it gives itself."""
    prev: str
    hash: str


_read_link = msgspec.json.Decoder(_Link).decode


class ChainVerifier:
    """Takes encoded records in order and compares each with the one before.

    Args:
        start_seq: Number of the first record that will come.
        start_prev: Hash of the record before it.
    """

    def __init__(self, start_seq: int = 1, start_prev: str = GENESIS) -> None:
        self._records = 0
        self._expected = start_seq
        self._head = start_prev
        self._verified_to = start_seq - 1
        self._recent: deque[_Seen] = deque(maxlen=REMEMBERED)
        # A record that does not fit the one before: which of the two is bad shows with the next one.
        self._suspect: _Seen | None = None
        self._failure: VerifyResult | None = None

    @property
    def is_settled(self) -> bool:
        """Whether all records fit so far, so that another verifier can go on from the last one."""
        return self._failure is None and self._suspect is None

    def feed(self, seq: int, record: bytes) -> bool:
        """Take the next record, which the store calls number `seq`.

        Returns:
            False as soon as the chain is known to be broken; more records change nothing then.
        """
        if self._failure is not None:
            return False
        self._records += 1
        seen = _read(seq, record)
        expected = self._expected
        if self._suspect is not None:
            follows = seen is not None and seq == self._suspect.position + 1
            self._judge(
                self._suspect, is_confirmed=seen.prev == self._suspect.hash if seen and follows else None
            )
        elif seq > expected:
            self._fail(expected, _missing(expected, seq - 1))
        elif seq < expected:
            self._fail(seq, f"record {seq} stands there a second time")
        elif seen is None:
            self._fail(expected, f"record {expected} cannot be read")
        elif seen.prev == self._head:
            if seen.seq == expected:
                self._accept(seen)
            else:
                self._fail(expected, f"record {expected} calls itself {seen.seq}")
        elif self._recent and (seen.seq == expected or self._is_fork(seen)):
            self._suspect = seen
        elif seen.seq == expected:
            self._fail(expected, f"record {expected} was changed, or everything before it")
        else:
            self._fail(expected, f"record {expected} is missing or out of place: {seen.seq} stands there")
        return self._failure is None

    def feed_block(self, last_seq: int, block: bytes) -> bool:
        """Take a block of records, one a line, whose last one the store calls number `last_seq`.

        Returns:
            False as soon as the chain is known to be broken.
        """
        records = block.split(b"\n")
        start = last_seq - len(records) + 1
        first = _read(start, records[0])
        # Records lack before this block only if its first one says so too; otherwise they lack inside.
        if start < self._expected or first is None or first.seq != start:
            start = self._expected
        for position, record in enumerate(records, start):
            if not self.feed(position, record):
                return False
        end = start + len(records) - 1
        if self._suspect is None and end < last_seq:
            self._fail(end + 1, _missing(end + 1, last_seq))
        elif self._suspect is None and end > last_seq:
            self._fail(last_seq + 1, f"record {last_seq + 1} was put in")
        return self._failure is None

    def finish(self, expected_head: str | None = None, expected_seq: int | None = None) -> VerifyResult:
        """The verdict, after the last record.

        Args:
            expected_head: Hash of the last record, from where it is kept; without it that record is unproven.
            expected_seq: Number of the last record, from where it is kept.
        """
        if self._failure is None and self._suspect is not None:
            self._judge(self._suspect, is_confirmed=self._is_end(self._suspect, expected_head, expected_seq))
        last = self._expected - 1
        if self._failure is None and expected_seq is not None and expected_seq != last:
            if expected_seq > last:
                self._fail(last + 1, _missing(last + 1, expected_seq))
            else:
                self._fail(expected_seq + 1, f"record {expected_seq + 1} stands behind the end of the chain")
        is_new = self._head == GENESIS and not expected_head
        if self._failure is None and expected_head not in (None, self._head) and not is_new:
            self._fail(last, f"record {last} is not the one that the head of the chain names")
        if self._failure is not None:
            return self._failure
        verified_to = last if expected_head is not None else self._verified_to
        return VerifyResult(
            ok=True,
            records=self._records,
            first_bad=None,
            problem="",
            verified_to=verified_to,
            head=self._head,
        )

    def _accept(self, seen: _Seen) -> None:
        self._recent.append(seen)
        self._verified_to = seen.position - 1
        self._head = seen.hash
        self._expected += 1

    def _is_fork(self, seen: _Seen) -> bool:
        """Whether `seen` continues the chain where another record continued it before."""
        back = self._expected - seen.seq
        if not 0 < back <= len(self._recent):
            return False
        rival = self._recent[-back]
        return rival.prev == seen.prev and rival.hash != seen.hash

    def _judge(self, suspect: _Seen, *, is_confirmed: bool | None) -> None:
        """Say which of two that do not fit is bad; the record after them confirms one by naming its hash."""
        if is_confirmed is False:
            self._fail(suspect.position, f"record {suspect.position} was changed")
        elif suspect.seq == suspect.position:
            before = suspect.position - 1
            unsure = "" if is_confirmed else f", or {suspect.position}"
            self._fail(before, f"record {before} was changed{unsure}")
        else:
            self._fail(suspect.seq, f"record {suspect.seq} was put in")

    @staticmethod
    def _is_end(suspect: _Seen, expected_head: str | None, expected_seq: int | None) -> bool | None:
        if expected_head is None:
            return None
        is_cut = expected_seq is not None and expected_seq > suspect.position
        return True if suspect.hash == expected_head else None if is_cut else False

    def _fail(self, first_bad: int, problem: str) -> None:
        verified_to = min(self._verified_to, first_bad - 1)
        after = self._expected - 1 - verified_to
        head = self._head
        if after:
            head = self._recent[-after].prev if after <= len(self._recent) else ""
        self._failure = VerifyResult(
            ok=False,
            records=self._records,
            first_bad=first_bad,
            problem=problem,
            verified_to=verified_to,
            head=head,
        )


def _read(position: int, record: bytes) -> _Seen | None:
    try:
        link = _read_link(record)
    except (ValueError, RecursionError):
        return None
    return _Seen(position, link.seq, link.prev, record_hash(record))


def _missing(first: int, last: int) -> str:
    return f"record {first} is missing" if first == last else f"records {first} to {last} are missing"
