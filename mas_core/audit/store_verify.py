"""Verifies the records that the store holds of one partition: against their chain, its head, and the evidence.

The store is what others can write to, so it is believed in nothing that a checkpoint outside of it covers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.checkpoint_verify import CheckpointSource, Lookahead
from mas_core.audit.diagnosis import Diagnosis, link_of
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.examination import Examination
from mas_core.audit.folder_verify import start_at
from mas_core.audit.log_verify import LogVerifier, Start
from mas_core.audit.merkle import ReadHash
from mas_core.audit.trusted_keys import TrustedKeys
from mas_core.audit.verify import Tampering, VerifyResult
from mas_core.errors import ChainBroken
from mas_core.store.records import AuditBlock, Records


async def verify_store(
    records: Records,
    partition: int,
    *,
    folder: Path | None = None,
    keys: TrustedKeys | None = None,
    outside: Iterable[bytes] = (),
    told: Callable[[int], None] = lambda _: None,
) -> VerifyResult:
    """Hold what the store has of a partition against what it ought to be.

    Args:
        records: The store's records.
        partition: Which partition.
        folder: The evidence folder; without one there is only the chain, and the head that the store names.
        keys: Whose checkpoints count.
        outside: Checkpoints that were kept elsewhere, of any partition.
        told: Told now and then how many records are verified.

    Raises:
        StoreUnreachable: The store does not answer.
    """
    with ExitStack() as stack:
        reader = None
        checkpoints: Iterator[Checkpoint] = iter(())
        if folder is not None and keys is not None:
            reader = stack.enter_context(EvidenceReader(folder, partition))
            # Checkpoints first: what they name was in the store before them.
            checkpoints = iter(CheckpointSource(keys, partition, reader.checkpoints(), outside))
        return await _StoreVerification(records, partition, reader, Lookahead(checkpoints), told).run()


class _StoreVerification:
    def __init__(
        self,
        records: Records,
        partition: int,
        reader: EvidenceReader | None,
        checkpoints: Lookahead,
        told: Callable[[int], None],
    ) -> None:
        self._records = records
        self._partition = partition
        self._reader = reader
        self._checkpoints = checkpoints
        self._told = told
        self._end = (0, "")
        self._notes: list[str] = []
        self._proven_to = 0
        self._log = LogVerifier(iter(()))
        self._begin = 0

    async def run(self) -> VerifyResult:
        """Read everything up to the head, or up to the first thing that is wrong."""
        self._end = await self._records.audit_head(self._partition)
        self._log = await self._started()
        self._begin = self._log.size
        found = await self._in_records() or self._at_the_end()
        log = self._log
        is_right = found is None
        verified_to = log.size if found is None else max(0, min(self._proven_to, found.first_bad - 1))
        return VerifyResult(
            ok=is_right,
            records=log.size - self._begin,
            first_bad=found.first_bad if found else None,
            problem=found.problem if found else "",
            verified_to=verified_to,
            head=(log.head or "") if is_right else "",
            kind=found.kind if found else "",
            first=self._begin + 1,
            covered=log.trusted.size,
            notes=tuple(self._notes),
        )

    async def _started(self) -> LogVerifier:
        """Begins with the first record that the store has; those before it were trimmed if that is proven."""
        read_hashes = self._reader.read_hashes if self._reader is not None else None
        start = Start()
        async for block in self._records.audit_blocks(self._partition):
            link = link_of(block.records()[0])
            if link is not None and link.seq > 1 and self._reader is not None:
                start = start_at(link.seq, self._reader, self._checkpoints)
            break
        return LogVerifier(self._checkpoints, read_hashes, start)

    async def _in_records(self) -> Diagnosis | None:
        end = self._end[0]
        async for block in self._records.audit_blocks(self._partition):
            records = block.records()
            if block.last_seq > end:
                records = records[: max(0, len(records) - (block.last_seq - end))]
            if (gap := self._gap_before(block)) is not None:
                return gap
            if (found := await self._taken(records)) is not None:
                return found
            self._told(self._log.size - self._begin)
            if block.last_seq >= end:
                break
        return None

    async def _taken(self, records: list[bytes]) -> Diagnosis | None:
        log = self._log
        before = log.size
        while not log.feed(records[log.size - before :]):
            examination = Examination(log, self._checkpoints, self._read_hash(), self._end)
            lines = await self._lines(examination.first, examination.count)
            found = examination.conclude(lines)
            self._proven_to = examination.verified_to
            if found is not None:
                return found
            self._notes.append(f"the stored hashes are wrong from record {log.first_odd} on")
            log.drop_hashes()
        return None

    async def _lines(self, first: int, count: int) -> list[bytes]:
        lines: list[bytes] = []
        async for block in self._records.audit_blocks(self._partition, first_seq=first):
            records = block.records()
            link = link_of(records[0])
            if not lines and link is not None and link.seq < first:
                records = records[first - link.seq :]
            lines += records
            if len(lines) >= count:
                break
        return lines[:count]

    def _gap_before(self, block: AuditBlock) -> Diagnosis | None:
        """Whether the store and the first record of a block both say that records before it are missing."""
        expected = self._log.size + 1
        records = block.records()
        first = block.last_seq - len(records) + 1
        link = link_of(records[0])
        if first <= expected or link is None or link.seq != first:
            return None
        self._proven_to = self._log.trusted.size
        gone = f"record {expected} is" if first == expected + 1 else f"records {expected} to {first - 1} are"
        return Diagnosis(Tampering.DELETED, expected, f"{gone} missing")

    def _at_the_end(self) -> Diagnosis | None:
        log = self._log
        seq, head = self._end
        self._proven_to = log.trusted.size
        if log.pending is not None:
            named = max((found.size for found in self._checkpoints), default=log.pending.size)
            if seq < named:
                return Diagnosis(
                    Tampering.ROLLED_BACK,
                    log.size + 1,
                    f"the store ends with record {log.size}, but a checkpoint names {named} records",
                )
        if log.size < seq:
            return Diagnosis(
                Tampering.TRUNCATED,
                log.size + 1,
                f"the log ends before record {log.size + 1}, but its head is record {seq}",
            )
        if log.size and head not in {"", log.head}:
            return Diagnosis(
                Tampering.EDITED, log.size, f"record {log.size} is not the one that the head names"
            )
        return None

    def _read_hash(self) -> ReadHash:
        return self._reader.read_hash if self._reader is not None else _no_hash


def _no_hash(place: int) -> bytes:
    raise ChainBroken(f"no hash of the tree is stored; {place} was asked for")
