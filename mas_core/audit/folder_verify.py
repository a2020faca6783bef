"""Verifies one partition of an evidence folder, or of an export of one, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from mas_core.audit.checkpoint_verify import BadCheckpoint, CheckpointSource, Lookahead
from mas_core.audit.deleted_records import read_deleted
from mas_core.audit.diagnosis import Diagnosis, SignedTruth, link_of
from mas_core.audit.evidence_reader import Block, EvidenceReader
from mas_core.audit.examination import Examination
from mas_core.audit.log_verify import LogVerifier, Start
from mas_core.audit.merkle import TreeHead
from mas_core.audit.plain_files import PlainFiles
from mas_core.audit.trusted_keys import TrustedKeys
from mas_core.audit.verify import Tampering, VerifyResult
from mas_core.errors import ChainBroken, EvidenceDamaged
from mas_core.model.audit_record import GENESIS

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
        notes: list[str] = []
        try:
            deleted = read_deleted(reader.path, partition, (*keys.earlier, *keys.keys))
        except EvidenceDamaged as error:
            source.problems.append(BadCheckpoint(Tampering.CHECKPOINT_FORGED, error.message))
            deleted = None
        if start is None:
            if deleted is not None and deleted.last >= from_seq:
                from_seq = deleted.last + 1
                notes.append(f"records 1 to {deleted.last} were deleted under {deleted.policy}")
            start = start_at(from_seq, reader, checkpoints)
            if start.size + 1 < from_seq:
                notes.append("the stored hashes do not hold, so verification began with record 1")
        log = LogVerifier(checkpoints, reader.read_hashes, start)
        if not keys.is_pinned:
            notes.append("the key is not pinned: the folder's own word was taken for it")
        verification = _Verification(reader, source, checkpoints, log, notes)
        return verification.run(keys.problem, most_unsigned=None if is_live else MOST_UNSIGNED)


def verify_files(
    paths: Sequence[Path], partition: int, keys: TrustedKeys, *, outside: Iterable[bytes] = (), head: str = ""
) -> VerifyResult:
    """Hold records in plain files against their chain, and against checkpoints where they begin with record 1.

    Args:
        paths: JSON Lines or closed segments, oldest records first.
        partition: Which partition they are of.
        keys: Whose checkpoints count.
        outside: Checkpoints, of any partition.
        head: Hash of the last record, hex, from where it is kept.

    Raises:
        OSError: A file cannot be read.
    """
    files = PlainFiles(paths)
    begin = files.first - 1
    notes: list[str] = []
    origin = f"{keys.name}/{partition}\n".encode()
    own = [note for note in outside if note.startswith(origin)] if begin == 0 else []
    source = CheckpointSource(keys, partition, own)
    if begin:
        notes.append(f"the files begin with record {begin + 1}, so that only the chain was checked")
    checkpoints = Lookahead(source)
    log = LogVerifier(checkpoints, None, Start(begin, None if begin else GENESIS))
    verification = _Verification(files, source, checkpoints, log, notes)
    return verification.run(keys.problem, most_unsigned=None, head=head)


class _Verification:
    def __init__(
        self,
        reader: EvidenceReader | PlainFiles,
        source: CheckpointSource,
        checkpoints: Lookahead,
        log: LogVerifier,
        notes: list[str],
    ) -> None:
        self._reader = reader
        self._source = source
        self._checkpoints = checkpoints
        self._log = log
        self._notes = notes
        self._begin = log.size
        self._proven_to = 0

    def run(self, key_problem: str, *, most_unsigned: int | None, head: str = "") -> VerifyResult:
        """Read everything, or up to the first thing that is wrong.

        Args:
            key_problem: What is wrong with the keys.
            most_unsigned: Records that may stand behind the last checkpoint; None for any number.
            head: Hash of the last record, if something but a checkpoint names it.
        """
        log = self._log
        found = self._in_records() or self._at_the_end(head)
        verified_to = log.size if head else log.trusted.size
        if found is not None:
            verified_to = min(self._proven_to, found.first_bad - 1)
        else:
            found = self._in_checkpoints(key_problem, most_unsigned)
        return VerifyResult(
            ok=found is None,
            records=log.size - self._begin,
            first_bad=(found.first_bad or None) if found else None,
            problem=found.problem if found else "",
            verified_to=max(verified_to, 0),
            head=(log.head or "") if found is None else "",
            kind=found.kind if found else "",
            place="files" if isinstance(self._reader, PlainFiles) else "folder",
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
        following = link_of(block.records[1]) if len(block.records) > 1 else None
        # A number that only the first record claims was edited; where records are missing all of them agree.
        is_alone = following is not None and link is not None and following.seq != link.seq + 1
        if link is None or link.seq <= expected or is_alone:
            return None
        self._proven_to = self._log.trusted.size
        segments = self._reader.segments()
        lengths = [segment.last - segment.first + 1 for segment in segments]
        is_border = expected == 1 or any(segment.last == expected - 1 for segment in segments)
        # A segment that is gone is no shorter than others; fewer records were taken out of the file behind it.
        is_whole = is_border and link.seq - expected >= min(lengths, default=1)
        kind = Tampering.SEGMENT_MISSING if is_whole else Tampering.DELETED
        return Diagnosis(kind, expected, f"records {expected} to {link.seq - 1} are missing")

    def _at_the_end(self, head: str) -> Diagnosis | None:
        """Whether records are missing that a checkpoint names, or the last one is another than it should be."""
        log = self._log
        if log.pending is None:
            if head in {"", log.head}:
                return None
            self._proven_to = log.trusted.size
            return Diagnosis(
                Tampering.REWRITTEN, log.size, f"record {log.size} is not the one with the given hash"
            )
        named = max((found.size for found in self._checkpoints), default=log.pending.size)
        is_own = self._source.own_size > log.size
        self._proven_to = log.trusted.size
        return Diagnosis(
            Tampering.TRUNCATED if is_own else Tampering.ROLLED_BACK,
            log.size + 1,
            f"the log ends before record {log.size + 1}, but a checkpoint names {named} records",
        )

    def _in_checkpoints(self, key_problem: str, most_unsigned: int | None) -> Diagnosis | None:
        """What is wrong with keys and checkpoints although the records hold."""
        if key_problem:
            return Diagnosis(Tampering.KEY_REPLACED, 0, key_problem)
        for problem in self._source.problems:
            return Diagnosis(problem.kind, 0, problem.problem)
        log = self._log
        unsigned = log.size - log.trusted.size
        if most_unsigned is not None and unsigned > most_unsigned:
            return Diagnosis(
                Tampering.CHECKPOINT_MISSING,
                0,
                f"records {log.trusted.size + 1} to {log.size} stand under no checkpoint",
            )
        if unsigned:
            self._notes.append(f"{unsigned} records are under no checkpoint (yet)")
        return None


def start_at(from_seq: int, reader: EvidenceReader, checkpoints: Lookahead) -> Start:
    """Where to begin so that `from_seq` is the first record: there, if a checkpoint proves what is before it."""
    size = from_seq - 1
    if size > 0 and SignedTruth(reader.read_hash, checkpoints.to(size)).begins_with(size):
        return Start(size, None, TreeHead(size, reader.read_hash))
    return Start()
