"""The notary's part for one partition: takes in what the store has, and says when it is to be signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mas_core.audit.checkpoint import TreeState
from mas_core.audit.checkpoint_log import Signer
from mas_core.audit.evidence_writer import ClosedSegment, EvidenceWriter
from mas_core.audit.links import discontinued
from mas_core.audit.notary_status import PartitionEvidence, PartitionState
from mas_core.base.logs import get_logger
from mas_core.errors import (
    ConfigurationError,
    EvidenceDamaged,
    IntegrityError,
    LogDiscontinued,
    SecretUnavailable,
)
from mas_core.store.records import AuditBlock

log = get_logger(__name__)

RETRY_S: Final = 1.0
"""Seconds after which it is tried again what could not be done."""


class PartitionNotary:
    """Follows one partition. Whatever cannot be done is told in its status and tried again.

    Args:
        folder: The evidence folder.
        partition: Which.
        signer: Who signs.
        on_closed: Called with each segment that was closed.
    """

    def __init__(
        self,
        folder: Path,
        partition: int,
        signer: Signer,
        on_closed: Callable[[ClosedSegment], None] = lambda _segment: None,
    ) -> None:
        self.partition = partition
        self._folder = folder
        self._signer = signer
        self._on_closed = on_closed
        self._writer: EvidenceWriter | None = None
        self._state: PartitionState = "signing"
        self._problem = ""
        self._sequence = 0
        self._mended = ""
        self._size = self._signed = self._signed_at = 0
        self._tree = TreeState(0, b"")
        self._unsigned_since: float | None = None
        self._retry_at = 0.0
        self._ahead_at = -1
        """Size at which the store said last that it has more, and gave nothing."""

    @property
    def is_refused(self) -> bool:
        """Whether the log is not what was signed."""
        return self._state == "refused"

    @property
    def signed_tree(self) -> TreeState:
        """Size and root of the newest checkpoint."""
        return self._tree

    @property
    def status(self) -> PartitionEvidence:
        """How its evidence stands."""
        return PartitionEvidence(
            self.partition,
            self._state,
            self._size,
            self._signed,
            self._signed_at,
            self._sequence,
            self._problem or self._mended,
        )

    def ready(self, now: float) -> EvidenceWriter | None:
        """The writer, opened when it is not; None while it cannot be, or is not to be tried yet.

        Args:
            now: Monotonic seconds.
        """
        if self._writer is None and now >= self._retry_at and self._open(now) and not self.is_refused:
            self._well("signing")
        return None if self.is_refused else self._writer

    def take(self, blocks: Sequence[AuditBlock], now: float) -> list[bytes]:
        """Take in blocks of the store that come next.

        Returns:
            The records that were taken in.
        """
        writer = self.ready(now)
        if writer is None or not blocks:
            return []
        try:
            records = self._records(blocks, writer.size)
            writer.append(records)
        except LogDiscontinued as error:
            self._refuse(error, now)
            return []
        except EvidenceDamaged as error:
            self._drop("refused", error.message, now)
            return []
        except OSError as error:
            self._drop("unwritable", _why(error), now)
            return []
        if self._unsigned_since is None and records:
            self._unsigned_since = now
        self._size = writer.size
        return records

    def due_in(self, now: float, most_s: float, most_records: int) -> float | None:
        """Seconds until a checkpoint is due; None when nothing is to be signed."""
        if self._writer is None or self.is_refused or self._writer.size <= self._writer.signed_size:
            return None
        if self._state == "unsigned":
            return max(0.0, self._retry_at - now)
        if self._writer.size - self._writer.signed_size >= most_records:
            return 0.0
        return max(0.0, (self._unsigned_since or now) + most_s - now)

    def checkpoint(self, time_ms: int, others: Mapping[int, TreeState], now: float) -> bytes | None:
        """Sign what is here; the note, or None when there is nothing to sign or it cannot be."""
        writer = self._writer
        if writer is None or self.is_refused:
            return None
        try:
            note = writer.checkpoint(time_ms, others)
        except EvidenceDamaged as error:
            self._drop("refused", error.message, now)
            return None
        except (SecretUnavailable, ConfigurationError) as error:
            # The records are kept; they are signed once the key is back.
            self._fail("unsigned", error.message, now)
            return None
        except OSError as error:
            self._drop("unwritable", _why(error), now)
            return None
        if note is not None:
            self._mended = ""
            self._unsigned_since = None
            self._note()
            self._well("signing")
        return note

    def check_head(self, seq: int, head: str, now: float) -> None:
        """Compare with the last record that the store names; called when it gave nothing new.

        Args:
            seq: Number of that record.
            head: Its SHA-256, hex.
            now: Monotonic seconds.
        """
        writer = self.ready(now)
        if writer is None:
            return
        if seq < writer.size:
            self._refuse(discontinued(self.partition, seq + 1, "rolled_back"), now)
        elif seq == writer.size and seq and head != writer.head:
            self._refuse(discontinued(self.partition, seq, "forked"), now)
        elif seq > writer.size:
            # It may just have been written; the second time it is missing.
            if self._ahead_at == writer.size:
                self._refuse(discontinued(self.partition, writer.size + 1, "gap"), now)
            self._ahead_at = writer.size

    def compare(self, blocks: Sequence[AuditBlock], now: float) -> None:
        """Look whether blocks of the store go on from what is here, and take none of them in.

        Args:
            blocks: The first ones after what is here; that there are none is a gap.
            now: Monotonic seconds.
        """
        writer = self.ready(now)
        if writer is None:
            return
        try:
            if not blocks:
                raise discontinued(self.partition, writer.size + 1, "gap")
            writer.check(self._records(blocks, writer.size))
        except LogDiscontinued as error:
            self._refuse(error, now)

    def look_again(self, seq: int, head: str, block: AuditBlock | None, now: float) -> None:
        """Go on after a refusal if the store's log continues the evidence again.

        Args:
            seq: Number of the last record that the store names.
            head: Its SHA-256, hex.
            block: The first block after what is here.
            now: Monotonic seconds.
        """
        if not self.is_refused or now < self._retry_at:
            return
        self._retry_at = now + RETRY_S
        if self._writer is None:
            self._open(now)
        writer = self._writer
        if writer is None or seq < writer.size:
            return
        if seq == writer.size:
            fits = head == writer.head or not seq
        else:
            fits = block is not None and self._fits(writer, block)
        if fits:
            log.info("notary.resumed", partition=self.partition, size=writer.size)
            self._ahead_at = -1
            self._well("signing")

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def begin_anew(self) -> None:
        """Forget what is known of the folder: it was replaced."""
        self.close()
        self._mended = ""
        self._size = self._signed = self._signed_at = 0
        self._tree = TreeState(0, b"")
        self._unsigned_since = None
        self._retry_at, self._ahead_at = 0.0, -1
        self._well("signing")

    def _open(self, now: float) -> bool:
        try:
            writer = EvidenceWriter(self._folder, self.partition, self._signer, on_closed=self._on_closed)
        except EvidenceDamaged as error:
            self._fail("refused", error.message, now)
            return False
        except (OSError, ConfigurationError) as error:
            self._fail("refused" if self.is_refused else "unwritable", _why(error), now)
            return False
        self._writer = writer
        if writer.mended:
            log.error("evidence.mended", partition=self.partition, reason=writer.mended)
            self._mended = writer.mended
        self._unsigned_since = now if writer.size > writer.signed_size else None
        self._note()
        return True

    def _records(self, blocks: Sequence[AuditBlock], size: int) -> list[bytes]:
        """The records of blocks after number `size`; each block has to end where its name says."""
        found: list[bytes] = []
        for block in blocks:
            records = block.records()
            known = size + len(found) - (block.last_seq - len(records))
            if known < 0:
                raise discontinued(self.partition, size + len(found) + 1, "gap")
            if known > len(records):
                raise discontinued(self.partition, size + len(found) + 1, "unreadable")
            found += records[known:] if known else records
        return found

    def _fits(self, writer: EvidenceWriter, block: AuditBlock) -> bool:
        try:
            writer.check(self._records([block], writer.size))
        except LogDiscontinued:
            return False
        return True

    def _note(self) -> None:
        writer = self._writer
        if writer is not None:
            self._size, self._signed = writer.size, writer.signed_size
            if writer.signed is not None:
                self._signed_at = writer.signed.time
                self._tree = writer.signed.state

    def _well(self, state: PartitionState) -> None:
        if self._problem:
            log.info("notary.recovered", partition=self.partition)
        self._state, self._problem, self._sequence = state, "", 0

    def _refuse(self, error: IntegrityError, now: float) -> None:
        self._fail("refused", error.message, now)
        sequence = error.details.get("sequence", 0)
        self._sequence = sequence if isinstance(sequence, int) else 0

    def _drop(self, state: PartitionState, problem: str, now: float) -> None:
        """After an error in the middle the files are taken up anew."""
        self.close()
        self._fail(state, problem, now)

    def _fail(self, state: PartitionState, problem: str, now: float) -> None:
        if problem != self._problem:
            log.error("notary.stopped", partition=self.partition, state=state, reason=problem)
        self._state, self._problem = state, problem
        self._retry_at = now + RETRY_S


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the evidence cannot be written: {error.strerror or error}"
    return str(error)
