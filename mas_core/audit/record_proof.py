"""Proves that records of an evidence folder are those that its newest checkpoint signs.

Only a stretch of records is read: the tree before it is in the stored hashes, and a consistency proof leads from
the stretch to the signed root. Wrong hashes make the proof fail; they cannot make a wrong record pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.evidence_reader import CHECKPOINTS_NAME, EvidenceReader, open_plain
from mas_core.audit.merkle import TreeHead, consistency_proof, leaf_hash, verify_consistency
from mas_core.audit.note import Note, VerifierKey, last_note
from mas_core.errors import EvidenceDamaged, NoteInvalid

_TAIL = 1 << 20

OnRecords = Callable[[Sequence[bytes]], object]


def signed_checkpoint(reader: EvidenceReader, keys: Sequence[VerifierKey]) -> Checkpoint | None:
    """The newest checkpoint of a partition, with its signature checked; None when there is none yet.

    Args:
        reader: Of the partition.
        keys: Whose signatures count.

    Raises:
        EvidenceDamaged: It cannot be read, is of another log, or none of the keys signed it.
    """
    path = reader.path / CHECKPOINTS_NAME
    try:
        with open_plain(path) as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - _TAIL))
            tail = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(f"{path} cannot be read: {error.strerror or error}", path) from error
    place = last_note(tail)
    if place is None:
        if not tail:
            return None
        raise _damaged(f"{path} holds no whole checkpoint", path)
    try:
        note = Note.parse(tail[slice(*place)])
        signers = note.signed_by(keys)
        checkpoint = Checkpoint.parse(note.text)
    except NoteInvalid as error:
        raise _damaged(f"the newest checkpoint in {path} does not hold: {error.message}", path) from error
    if not signers:
        raise _damaged(f"the newest checkpoint in {path} is signed by none of the keys of this system", path)
    if checkpoint.origin != f"{signers[0].name}/{reader.partition}":
        raise _damaged(f"the newest checkpoint in {path} is of another log: {checkpoint.origin}", path)
    return checkpoint


def prove_records(
    reader: EvidenceReader,
    checkpoint: Checkpoint,
    first: int,
    last: int,
    on_records: OnRecords | None = None,
    *,
    source: Iterable[Sequence[bytes]] | None = None,
) -> bytes:
    """Read records and prove that they are those that a checkpoint signs.

    Args:
        reader: Of the partition.
        checkpoint: With its signature checked.
        first: Number of the first record.
        last: Number of the last one.
        on_records: Gets them, some at a time, before anything is proven.
        source: Gives these records, some at a time; the folder itself does when left out.

    Returns:
        SHA-256 of the records, one a line, as they would stand in a plain file.

    Raises:
        ChainBroken: A segment cannot be read.
        EvidenceDamaged: Records lack, are more than were signed, or are not those that were signed.
    """
    span = f"records {first} to {last} of partition {reader.partition}"
    if not 0 < first <= last <= checkpoint.size:
        raise _damaged(f"no checkpoint covers {span}", reader.path)
    tree = TreeHead(first - 1, reader.read_hash)
    digest = hashlib.sha256()
    for records in source if source is not None else _unbroken(reader, first, last):
        for record in records:
            tree.append(leaf_hash(record))
        digest.update(b"\n".join(records) + b"\n")
        if on_records is not None:
            on_records(records)
    if tree.size != last:
        raise _damaged(
            f"record {tree.size + 1} of partition {reader.partition} is missing", reader.path, tree.size + 1
        )
    proof = consistency_proof(last, checkpoint.size, reader.read_hash)
    if not verify_consistency(last, checkpoint.size, proof, tree.root(), checkpoint.root):
        raise _damaged(f"{span} are not those that were signed", reader.path, first)
    return digest.digest()


def _unbroken(reader: EvidenceReader, first: int, last: int) -> Iterator[Sequence[bytes]]:
    """The records up to the first that is missing."""
    at = first
    for block in reader.blocks(first, last):
        if block.first != at:
            return
        yield block.records
        at += len(block.records)


def _damaged(message: str, path: Path, first_bad: int = 0) -> EvidenceDamaged:
    return EvidenceDamaged(
        message, hint=("mas audit verify", "mas audit restore"), path=str(path), first_bad=first_bad
    )
