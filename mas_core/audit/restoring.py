"""Brings segments back from an archive: those that an evidence folder lacks, or a whole folder.

Nothing that comes back is believed. A segment counts when the signed tree of the folder has it; a whole folder
counts when its tree, computed anew, has the root that its newest checkpoint signs. It has its name only after that.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mas_core.audit.archive import stored_bytes
from mas_core.audit.archive_target import ArchiveTarget
from mas_core.audit.checkpoint_keys import PUBLIC_FILE
from mas_core.audit.deleted_records import read_deleted
from mas_core.audit.durable_files import sync_folder
from mas_core.audit.evidence_reader import CHECKPOINTS_NAME, HASHES_NAME, EvidenceReader, Segment
from mas_core.audit.merkle import TreeHead, leaf_hash, stored_count
from mas_core.audit.note import VerifierKey
from mas_core.audit.record_proof import prove_records, signed_checkpoint
from mas_core.errors import ArchiveUnavailable, Conflict, EvidenceDamaged, NotFound
from mas_core.settings.private_files import private_dir, write_private

_STEM: Final = r"(?P<place>p(?P<partition>[0-9]{1,4}))/(?P<first>[0-9]{12,18})-(?P<last>[0-9]{12,18})"
_SEGMENT: Final = re.compile(_STEM + r"\.jsonl\.zst")
_PART: Final = re.compile(_STEM + r"\.(?P<kind>checkpoints|hashes|jsonl\.zst)")
_SMALL: Final = re.compile(
    r"audit\.pub|rotations|system|p[0-9]{1,4}/(?:era|deleted)|p[0-9]{1,4}\.era[0-9]+/[^/.][^/]*"
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back."""

    folder: Path
    segments: tuple[str, ...]
    """Names of the segments, with the partition's folder before them."""


def restore_missing(folder: Path, keys: Sequence[VerifierKey], target: ArchiveTarget) -> Restored:
    """Put the segments back that an evidence folder lacks and its archive has.

    Args:
        folder: The evidence folder, with its hashes and checkpoints.
        keys: Public keys whose checkpoints count.
        target: Its archive.

    Raises:
        ArchiveUnavailable: The archive does not answer.
        EvidenceDamaged: What the archive gives is not what was signed; the folder is as it was.
    """
    found = []
    for name in target.names():
        match = _SEGMENT.fullmatch(name)
        if match is None or (folder / name).exists() or not (folder / match["place"]).is_dir():
            continue
        with EvidenceReader(folder, int(match["partition"])) as reader:
            deleted = read_deleted(reader.path, reader.partition, keys)
            checkpoint = signed_checkpoint(reader, keys)
            first, last = int(match["first"]), int(match["last"])
            if checkpoint is None or last > checkpoint.size or (deleted is not None and last <= deleted.last):
                continue
            draft = folder / match["place"] / f".{Path(name).name}.new"
            try:
                _fetch(target, name, draft)
                blocks = Segment(first, last, draft).blocks()
                prove_records(reader, checkpoint, first, last, source=blocks)
                draft.replace(folder / name)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(reader.path)
        found.append(name)
    return Restored(folder, tuple(found))


def restore_folder(target: ArchiveTarget, folder: Path) -> Restored:
    """Make an evidence folder of all that an archive has.

    Args:
        target: The archive.
        folder: Where to; has to be empty, or not there yet.

    Raises:
        ArchiveUnavailable: The archive does not answer.
        Conflict: The folder holds something.
        EvidenceDamaged: A segment lacks or is not what was signed; nothing was made.
        NotFound: There is nothing in the archive.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is there already", hint="mas audit restore --out DIR", path=str(folder))
    names = target.names()
    if PUBLIC_FILE not in names:
        raise NotFound(f"there is no archive in {target.shown}", hint="mas audit archive --to URL")
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        private_dir(draft)
        for name in names:
            if _SMALL.fullmatch(name):
                private_dir((draft / name).parent)
                _fetch(target, name, draft / name)
        parts: dict[str, list[re.Match[str]]] = {}
        for match in filter(None, map(_PART.fullmatch, names)):
            parts.setdefault(match["place"], []).append(match)
        for place, found in sorted(parts.items()):
            _restore_partition(target, draft, place, found)
        if folder.exists():
            folder.rmdir()
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Restored(folder, tuple(name for name in names if _SEGMENT.fullmatch(name)))


def _restore_partition(
    target: ArchiveTarget, folder: Path, place: str, parts: Sequence[re.Match[str]]
) -> None:
    path = private_dir(folder / place)
    partition = int(parts[0]["partition"])
    keys = [VerifierKey.parse(line) for line in (folder / PUBLIC_FILE).read_text().split()]
    deleted = read_deleted(path, partition, keys)
    tree = TreeHead()
    checkpoints = b""
    with (path / HASHES_NAME).open("xb") as hashes:
        (path / HASHES_NAME).chmod(0o600)
        for part in sorted(parts, key=lambda match: (int(match["first"]), match["kind"])):
            first, last = int(part["first"]), int(part["last"])
            is_deleted = deleted is not None and last <= deleted.last
            if part["kind"] == "checkpoints":
                checkpoints += stored_bytes(target, part.string) or b""
                continue
            if is_deleted != (part["kind"] == "hashes"):
                # Of a deletion that was interrupted before its note, or before the segment went.
                continue
            if first != tree.size + 1:
                raise EvidenceDamaged(
                    f"the archive {target.shown} lacks the segment of record {tree.size + 1} of {place}",
                    path=part.string,
                    first_bad=tree.size + 1,
                )
            if is_deleted:
                hashes.write(stored_bytes(target, part.string) or b"")
                hashes.flush()
                tree = _tree_at(path, partition, last)
                continue
            _fetch(target, part.string, folder / part.string)
            for records in Segment(first, last, folder / part.string).blocks():
                for record in records:
                    hashes.write(b"".join(tree.append(leaf_hash(record))))
            if tree.size != last:
                raise EvidenceDamaged(
                    f"{target.shown}/{part.string} does not hold the records of its name", path=part.string
                )
        hashes.flush()
        os.fsync(hashes.fileno())
    write_private(path / CHECKPOINTS_NAME, checkpoints)
    _require_signed(path, partition, keys, tree.size)
    sync_folder(path)


def _tree_at(path: Path, partition: int, size: int) -> TreeHead:
    with EvidenceReader(path.parent, partition) as reader:
        if reader.hash_count != stored_count(size):
            raise EvidenceDamaged(f"the hashes of the first {size} records are not whole", path=str(path))
        return TreeHead(size, reader.read_hash)


def _require_signed(path: Path, partition: int, keys: Sequence[VerifierKey], size: int) -> None:
    """Make sure that the newest checkpoint that came back signs all that came back."""
    with EvidenceReader(path.parent, partition) as reader:
        checkpoint = signed_checkpoint(reader, keys)
        if checkpoint is None or checkpoint.size != size:
            raise EvidenceDamaged(
                f"no checkpoint in the archive covers record {size} of {path.name}", path=str(path)
            )
        deleted = read_deleted(path, partition, keys)
        prove_records(reader, checkpoint, deleted.last + 1 if deleted is not None else 1, size)


def _fetch(target: ArchiveTarget, name: str, path: Path) -> None:
    """Copy a file of the archive to a private file that is on the disk when this returns."""
    file = target.open(name)
    if file is None:
        raise ArchiveUnavailable(f"{target.shown}/{name} is gone", url=target.shown, file=name)
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with closing(file), os.fdopen(os.open(path, flags, 0o600), "wb") as out:
        shutil.copyfileobj(file, out)
        out.flush()
        os.fsync(out.fileno())
