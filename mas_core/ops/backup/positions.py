"""Where the audit of each partition goes on after a restore: it never goes back, and never over what was signed.

Where the store has records the audit goes on after these. Where it has none it goes on where the evidence folder
ends, so that the notary signs on as if nothing had happened: what the restore undid stays recorded, and the record
of the restore comes after it. Without evidence a new log begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mas_core.audit.chain import record_hash
from mas_core.audit.record_files import RecordFiles
from mas_core.ops.audit_files import note_size
from mas_core.ops.backup.contents import Manifest, PartitionFacts
from mas_core.store.backups import Position

Begin = Literal["store", "evidence", "new"]

EPOCH_STEP = 1_000_000
"""How far epochs jump: so often nobody took a lease since the backup, so none of before comes again."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where the audit of one partition goes on."""

    partition: int
    begin: Begin
    """Whose records come before: the store's, those of the evidence folder, or none."""
    seq: int
    """Number of the last record before."""
    head: str
    epoch: int
    problem: str = ""
    """What does not fit, in words."""

    @property
    def is_new_log(self) -> bool:
        """Whether numbers begin anew."""
        return self.begin == "new"


def continuations(
    manifest: Manifest, stored: Sequence[Position], folder: Path | None
) -> tuple[Continuation, ...]:
    """Where the audit goes on, by partition.

    Args:
        manifest: Of the backup.
        stored: Where the partitions of the store stand.
        folder: The evidence folder, where there is one.
    """
    return tuple(
        _continuation(number, facts, position, folder)
        for number, (facts, position) in enumerate(zip(manifest.partitions, stored, strict=True))
    )


def evidence_end(folder: Path | None, partition: int) -> tuple[int, str]:
    """Number and hash of the last record in an evidence folder; 0 when it has none."""
    if folder is None:
        return 0, ""
    files = RecordFiles(folder, partition, _nobody)
    found = files.read(files.size, files.size) if files.size else []
    return (files.size, record_hash(found[0][1])) if found else (0, "")


def position_problem(facts: PartitionFacts, folder: Path | None, partition: int) -> str:
    """Why the position of a backup does not fit the evidence; empty when it does, or nothing is at hand."""
    if folder is None or not facts.seq:
        return ""
    files = RecordFiles(folder, partition, _nobody)
    if files.size < facts.seq:
        return f"the evidence ends at record {files.size}, and the backup was made at record {facts.seq}"
    found = files.read(facts.seq, facts.seq)
    if found and record_hash(found[0][1]) != facts.head:
        return f"record {facts.seq} of the evidence is another one than that of the backup"
    return ""


def awaits_notary(facts: PartitionFacts, folder: Path, partition: int) -> bool:
    """Whether the evidence may only be behind: it has all that was signed when the backup was made, and no more."""
    size = RecordFiles(folder, partition, _nobody).size
    return note_size(facts.checkpoint) <= size < facts.seq


def _continuation(
    number: int, facts: PartitionFacts, position: Position, folder: Path | None
) -> Continuation:
    epoch = max(position.epoch, facts.epoch + EPOCH_STEP)
    problem = position_problem(facts, folder, number)
    seq, head = evidence_end(folder, number)
    if position.seq:
        if seq > position.seq:
            problem = (
                f"the store ends at record {position.seq} and the evidence at {seq}: the notary signs nothing "
                "until somebody says mas audit resume --accept-restore"
            )
        return Continuation(number, "store", position.seq, position.head, epoch, problem)
    if seq:
        return Continuation(number, "evidence", seq, head, epoch, problem)
    if facts.seq:
        problem = (
            f"no evidence is at hand: a new log begins, and that of the backup was at record {facts.seq}"
        )
    return Continuation(number, "new", 0, "", epoch, problem)


def _nobody(_text: str) -> None:
    """What cannot be read is told by `mas audit verify`."""
