"""Verifies one partition of an evidence folder, or of an export of one, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from mas_core.audit.checkpoint_verify import CheckpointSource, Lookahead
from mas_core.audit.diagnosis import Diagnosis, SignedTruth, link_of
from mas_core.audit.evidence_reader import Block, EvidenceReader
from mas_core.audit.examination import Examination
from mas_core.audit.log_verify import LogVerifier, Start
from mas_core.audit.merkle import TreeHead
from mas_core.audit.trusted_keys import TrustedKeys
from mas_core.audit.verify import Tampering, VerifyResult
from mas_core.errors import ChainBroken

MOST_UNSIGNED = 256
"""Records that may stand behind the last checkpoint of a folder that nobody writes to."""


def verify_folder(
    folder: Path,
    partition: int,
    keys: TrustedKeys,
    *,
    outside: Iterable[bytes] = (),
    from_seq: int = 1,
    start: Start | None = None,
    is_live: bool = False,
) -> VerifyResult:
    """Hold the records of a partition against its chain, its tree and every checkpoint.

    Args:
        folder: The evidence folder.
        partition: Which partition.
        keys: Whose checkpoints count.
        outside: Checkpoints that were kept elsewhere, of any partition.
        from_seq: Begin with this record; the stored hashes of those before it must be there, and hold.
        start: What an earlier verification left, instead of `from_seq`.
        is_live: A notary is at work, so that the newest records may not be signed yet.
    """
    with EvidenceReader(folder, partition) as reader:
        source = CheckpointSource(keys, partition, reader.checkpoints(), outside)
        checkpoints = Lookahead(source)
        notes = []
        if start is None:
            start = start_at(from_seq, reader, checkpoints)
            if start.size + 1 < from_seq:
                notes.append("the stored hashes do not hold, so verification began with record 1")
        log = LogVerifier(checkpoints, reader.read_hashes, start)
        return _FolderVerification(reader, source, checkpoints, keys, log, notes).run(is_live=is_live)


class _FolderVerification:
    def __init__(
        self,
        reader: EvidenceReader,
        source: CheckpointSource,
        checkpoints: Lookahead,
        keys: TrustedKeys,
        log: LogVerifier,
        notes: list[str],
    ) -> None:
        self._reader = reader
        self._source = source
        self._checkpoints = checkpoints
        self._keys = keys
        self._log = log
        self._notes = notes
        self._begin = log.size
        self._proven_to = 0

    def run(self, *, is_live: bool) -> VerifyResult:
        """Read everything, or up to the first thing that is wrong."""
        log = self._log
        found = self._in_records() or self._at_the_end()
        verified_to = min(self._proven_to, found.first_bad - 1) if found else log.size
        if found is None:
            found = self._in_checkpoints(is_live=is_live)
        if not self._keys.is_pinned:
            self._notes.append("the key is not pinned: the folder's own word was taken for it")
        return VerifyResult(
            ok=found is None,
            records=log.size - self._begin,
            first_bad=(found.first_bad or None) if found else None,
            problem=found.problem if found else "",
            verified_to=max(verified_to, 0),
            head=(log.head or "") if found is None else "",
            kind=found.kind if found else "",
            first=self._begin + 1,
            covered=log.trusted.size,
            checkpoints=self._source.count,
            notes=tuple(self._notes),
        )

    def _in_records(self) -> Diagnosis | None:
        log = self._log
        try:
            for block in self._reader.blocks(log.size + 1):
                if (gap := self._gap_before(block)) is not None:
                    return gap
                if (found := self._taken(block.records)) is not None:
                    return found
        except ChainBroken as error:
            self._proven_to = log.trusted.size
            return Diagnosis(Tampering.EDITED, log.size + 1, error.message)
        return None

    def _taken(self, records: list[bytes]) -> Diagnosis | None:
        log = self._log
        before = log.size
        while not log.feed(records[log.size - before :]):
            examination = Examination(log, self._checkpoints, self._reader.read_hash)
            lines = self._lines(examination.first, examination.count)
            found = examination.conclude(lines)
            self._proven_to = examination.verified_to
            if found is not None:
                return found
            self._notes.append(
                f"the stored hashes are wrong from record {log.first_odd} on; they can be made anew"
            )
            log.drop_hashes()
        return None

    def _lines(self, first: int, count: int) -> list[bytes]:
        lines: list[bytes] = []
        with suppress(ChainBroken):
            lines.extend(record for _, record in islice(self._reader.records(first), count))
        return lines

    def _gap_before(self, block: Block) -> Diagnosis | None:
        """What is missing before these records, if the files and the records themselves say so."""
        expected = self._log.size + 1
        if block.first <= expected:
            return None
        link = link_of(block.records[0])
        if link is None or link.seq <= expected:
            return None
        self._proven_to = self._log.trusted.size
        is_whole = expected == 1 or any(segment.last == expected - 1 for segment in self._reader.segments())
        kind = Tampering.SEGMENT_MISSING if is_whole else Tampering.DELETED
        return Diagnosis(kind, expected, f"records {expected} to {link.seq - 1} are missing")

    def _at_the_end(self) -> Diagnosis | None:
        """Whether records are missing that a checkpoint names."""
        log = self._log
        if log.pending is None:
            return None
        named = max((found.size for found in self._checkpoints), default=log.pending.size)
        is_own = self._source.own_size > log.size
        self._proven_to = log.trusted.size
        return Diagnosis(
            Tampering.TRUNCATED if is_own else Tampering.ROLLED_BACK,
            log.size + 1,
            f"the log ends before record {log.size + 1}, but a checkpoint names {named} records",
        )

    def _in_checkpoints(self, *, is_live: bool) -> Diagnosis | None:
        """What is wrong with keys and checkpoints although the records hold."""
        if self._keys.problem:
            return Diagnosis(Tampering.KEY_REPLACED, 0, self._keys.problem)
        for problem in self._source.problems:
            return Diagnosis(problem.kind, 0, problem.problem)
        log = self._log
        unsigned = log.size - log.trusted.size
        if unsigned > MOST_UNSIGNED and not is_live:
            return Diagnosis(
                Tampering.CHECKPOINT_MISSING,
                0,
                f"records {log.trusted.size + 1} to {log.size} stand under no checkpoint",
            )
        if unsigned:
            self._notes.append(f"{unsigned} records are newer than the last checkpoint")
        return None


def start_at(from_seq: int, reader: EvidenceReader, checkpoints: Lookahead) -> Start:
    """Where to begin so that `from_seq` is the first record: there, if a checkpoint proves what is before it."""
    size = from_seq - 1
    if size > 0 and SignedTruth(reader.read_hash, checkpoints.to(size)).begins_with(size):
        return Start(size, None, TreeHead(size, reader.read_hash))
    return Start()
