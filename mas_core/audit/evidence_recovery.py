"""Takes up what the folder of a partition holds, whatever ended the process that wrote it.

What no checkpoint names may be cut off: it is asked of the store again. What a checkpoint names is either whole
or set aside, and then asked of the store again as well; the signed root decides whether it came back unchanged.
Older segments may have gone to an archive; the newest one always stays, since the chain goes on from it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.hash_file import HashFile
from mas_core.audit.links import linked, number_of
from mas_core.audit.merkle import TreeHead, leaf_hash, stored_count
from mas_core.audit.segments import Segment, segment_records, segments_in
from mas_core.errors import EvidenceDamaged, LogDiscontinued
from mas_core.model.audit_record import GENESIS

OPEN_FILE: Final = "open.jsonl"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What is here, whole and linked."""

    closed: int
    """Number of the last record in a closed segment."""
    head: str
    """SHA-256 of the last record."""
    records: list[bytes]
    """Those of the open segment."""
    leaves: list[bytes]
    """Their leaf hashes."""
    is_intact: bool
    """Whether the file of the open segment holds these records and nothing else."""
    mended: str = ""
    """What was damaged and is asked of the store again, in words."""


def recover(folder: Path, partition: int, hashes: HashFile, signed: Checkpoint | None) -> Recovered:
    """Take up the folder of a partition; its hashes are those of the closed segments afterwards, or more.

    Raises:
        EvidenceDamaged: What is gone cannot be asked of the store.
        OSError: A file cannot be read or written.
    """
    for draft in (*folder.glob(".*.new"), *folder.glob(f".{OPEN_FILE}.*")):
        draft.unlink()
    segments = segments_in(folder)
    text = _open_text(folder)
    lines = text.split(b"\n")[:-1]
    closed = segments[-1].last if segments else 0
    head = _head_of(segments[-1]) if segments else GENESIS
    if stored_count(closed) > len(hashes):
        _rebuild(hashes, segments)
    # When the process ended right after it closed a segment, its records are in the open one too.
    fresh = [line for line in lines if (number := number_of(line)) is None or number > closed]
    records, leaves = _linked_part(partition, closed, head, fresh)
    if signed is not None and closed < signed.size and not _holds(signed, closed, leaves, hashes):
        _rebuild(hashes, segments)
        if not _holds(signed, closed, leaves, hashes):
            return Recovered(closed, head, [], [], is_intact=False, mended=_set_aside(folder))
    if records:
        head = sha256(records[-1]).hexdigest()
    is_intact = text == b"".join(line + b"\n" for line in records) and (folder / OPEN_FILE).exists()
    return Recovered(closed, head, records, leaves, is_intact)


def rebuild_hashes(folder: Path, hashes: HashFile) -> None:
    """Compute the hashes of the closed segments anew; errors as for `recover`."""
    if segments := segments_in(folder):
        _rebuild(hashes, segments)


def _open_text(folder: Path) -> bytes:
    try:
        descriptor = os.open(folder / OPEN_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _head_of(segment: Segment) -> str:
    last = b""
    for last in segment_records(segment.path):  # noqa: B007 - the last one is wanted
        pass
    return sha256(last).hexdigest()


def _linked_part(
    partition: int, closed: int, head: str, lines: Sequence[bytes]
) -> tuple[list[bytes], list[bytes]]:
    """The lines up to the first that does not continue the chain, and their leaf hashes."""
    try:
        return list(lines), linked(partition, closed, head, lines)
    except LogDiscontinued as error:
        bad = error.details["sequence"]
        good = list(lines[: bad - closed - 1]) if isinstance(bad, int) else []
        return good, [leaf_hash(line) for line in good]


def _holds(signed: Checkpoint, closed: int, leaves: Sequence[bytes], hashes: HashFile) -> bool:
    """Whether the tree has the signed root."""
    tree = TreeHead(closed, hashes.read)
    tree.extend(leaves[: signed.size - closed])
    return tree.size == signed.size and tree.root() == signed.root


def _set_aside(folder: Path) -> str:
    path = folder / OPEN_FILE
    if not path.exists():
        return f"{path} was gone; it is asked of the store again"
    aside = path.with_name(f"open.damaged-{len(list(folder.glob('open.damaged-*')))}.jsonl")
    path.replace(aside)
    return f"{path} was damaged; it is kept as {aside.name} and asked of the store again"


def _rebuild(hashes: HashFile, segments: Sequence[Segment]) -> None:
    """Compute hashes anew from the segments; those of segments that are not here have to be there."""
    first = segments[0].first if segments else 1
    if len(hashes) < stored_count(first - 1):
        raise EvidenceDamaged(
            f"{hashes.path} is damaged, and the segments before record {first} are not here to rebuild it from",
            hint="mas audit restore",
            path=str(hashes.path),
        )
    tree = TreeHead(first - 1, hashes.read)
    hashes.cut(stored_count(first - 1))
    for segment in segments:
        if segment.first != tree.size + 1:
            raise EvidenceDamaged(
                f"records {tree.size + 1} to {segment.first - 1} are in no segment of {segment.path.parent}",
                hint="mas audit restore",
                path=str(segment.path.parent),
            )
        hashes.append(tree.extend(leaf_hash(record) for record in segment_records(segment.path)))
    hashes.sync()
