"""The proof that the audit is what was written: verification with and without a system, and proofs of records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mas_core.audit.evidence_reader import CHECKPOINTS_NAME, EvidenceReader, notes_in, open_plain
from mas_core.audit.folder_verify import verify_files, verify_folder
from mas_core.audit.note import VerifierKey, last_note
from mas_core.audit.proofs import MAX_PROOF_BYTES, Proven, check, prove
from mas_core.audit.store_verify import verify_store
from mas_core.audit.trusted_keys import trusted_keys
from mas_core.audit.verify import VerifyResult
from mas_core.errors import MessageNotFound, NoteInvalid, NotFound, UsageError
from mas_core.ops.archive import evidence_folder
from mas_core.ops.system import System

__all__ = [
    "Proven",
    "Verified",
    "check_proof",
    "prove_exported",
    "prove_record",
    "verify_evidence",
    "verify_export",
]

_TAIL = 1 << 20
_MAX_KEY_BYTES = 1 << 20


class Verified(NamedTuple):
    """What verification found of one partition in one place."""

    partition: int
    result: VerifyResult


async def verify_evidence(
    system: System,
    *,
    pinned: Sequence[str] = (),
    checkpoints: Sequence[Path] = (),
    told: Callable[[int], None] = lambda _: None,
) -> list[Verified]:
    """Verify what the store holds and, where there is one, the evidence folder, partition after partition.

    Args:
        system: The system.
        pinned: Public keys to trust, as text or as names of files; the folder's word is taken when left out.
        checkpoints: Checkpoints from second places: files, or folders as a witness has them.
        told: Told now and then how many records are verified.

    Raises:
        UsageError: A key or a file with checkpoints cannot be used.
    """
    folder = system_evidence(system)
    keys = trusted_keys(folder, read_keys(pinned)) if folder is not None else None
    found: list[Verified] = []
    for partition in range(system.store.width):
        outside = [*_outside(checkpoints), *(_newest_notes(folder, but=partition) if folder else ())]
        before = sum(item.result.records for item in found)
        result = await verify_store(
            system.store.records,
            partition,
            folder=folder,
            keys=keys,
            outside=outside,
            told=lambda number, before=before: told(before + number),  # type: ignore[misc]
        )
        found.append(Verified(partition, result))
        if folder is not None and keys is not None:
            result = await asyncio.to_thread(
                verify_folder, folder, partition, keys, outside=outside, is_live=True
            )
            found.append(Verified(partition, result))
    return found


def verify_export(
    places: Sequence[Path],
    *,
    pinned: Sequence[str] = (),
    checkpoints: Sequence[Path] = (),
    from_seq: int = 1,
    partition: int = 0,
    head: str = "",
) -> list[Verified]:
    """Verify an evidence folder or plain files, without any system.

    Args:
        places: One folder, or files with records, oldest records first.
        pinned: Public keys to trust, as text or as names of files; the folder's word is taken when left out.
        checkpoints: Checkpoints from second places: files, or folders as a witness has them.
        from_seq: Begin with this record, where older ones are not part of the export.
        partition: Which partition plain files are of.
        head: Hash of the last record of plain files, from where it is kept.

    Raises:
        NotFound: There is nothing to verify.
        UsageError: A key or a file cannot be used.
    """
    keys = read_keys(pinned)
    outside = _outside(checkpoints)
    missing = [place for place in places if not place.exists()]
    if missing or not places:
        raise NotFound(f"{missing[0] if missing else 'what to verify'} is not there")
    if not places[0].is_dir():
        try:
            trusted = trusted_keys(places[0].parent / "-", keys)
            result = verify_files(places, partition, trusted, outside=outside, head=head)
        except OSError as error:
            raise UsageError(f"{error.filename or places[0]} cannot be read: {error.strerror}") from error
        return [Verified(partition, result)]
    if len(places) > 1:
        raise UsageError("one folder is verified at a time")
    folder = places[0]
    trusted = trusted_keys(folder, keys)
    partitions = _partitions_in(folder)
    if not partitions:
        raise NotFound(
            f"{folder} is no evidence folder: it has no folder p0", hint="mas audit export --evidence DIR"
        )
    if not trusted.keys:
        raise UsageError(f"{folder} holds no public key", hint="--key FILE")
    return [
        Verified(
            number,
            verify_folder(
                folder,
                number,
                trusted,
                outside=[*outside, *_newest_notes(folder, but=number)],
                from_seq=from_seq,
            ),
        )
        for number in partitions
    ]


def prove_exported(folder: Path, identifier: str) -> tuple[int, bytes]:
    """Number and proof of one record of an evidence folder, `SEQ` or `PARTITION:SEQ`, without any system.

    Raises:
        MessageNotFound: There is none, or no checkpoint covers it.
        UsageError: This is no number of a record, or no evidence folder.
        ProofInvalid: The evidence does not prove it.
    """
    partition, _, number = identifier.rpartition(":")
    if not number.isdecimal() or not (partition or "0").isdecimal():
        raise UsageError(f"{identifier!r} is no number of a record", hint="SEQ or PARTITION:SEQ")
    keys = trusted_keys(folder, ())
    if not keys.keys:
        raise UsageError(f"{folder} is no evidence folder: it holds no public key")
    with EvidenceReader(folder, int(partition or 0)) as reader:
        return int(number), prove(reader, int(number), keys.keys)


async def prove_record(system: System, identifier: str) -> tuple[int, bytes]:
    """Number and proof of one record: `SEQ`, `PARTITION:SEQ`, or the only record of a message.

    Raises:
        MessageNotFound: There is none, or no checkpoint covers it yet.
        UsageError: A message has several records; their numbers are in the hint.
        ProofInvalid: The evidence does not prove it.
    """
    folder = system_evidence(system)
    if folder is None:
        raise MessageNotFound(
            "there is no evidence folder: nobody signs this log outside of the server",
            hint="mas audit notary run",
            identifier=identifier,
        )
    partition, seq = await _place_of(system, identifier)
    keys = trusted_keys(folder, ())
    with EvidenceReader(folder, partition) as reader:
        return seq, await asyncio.to_thread(prove, reader, seq, keys.keys)


def check_proof(path: Path, pinned: Sequence[str]) -> Proven:
    """What a proof proves to whoever trusts these keys.

    Raises:
        ProofInvalid: Nothing.
        UsageError: The file or a key cannot be read.
    """
    if not pinned:
        raise UsageError("a proof is checked with a key that you trust", hint="--key FILE")
    try:
        with open_plain(path) as file:
            data = file.read(MAX_PROOF_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    return check(data, read_keys(pinned))


def system_evidence(system: System) -> Path | None:
    """The evidence folder of a system; None where there is none."""
    target = system.target
    try:
        return evidence_folder(target.project, target.keys_dir)
    except NotFound:
        return None


def read_keys(pinned: Sequence[str]) -> list[VerifierKey]:
    """Public keys that were given as text, or as files with one on each line.

    Raises:
        UsageError: One is no key.
    """
    keys = []
    for given in pinned:
        lines = [given]
        if not given.count("+") or Path(given).is_file():
            try:
                with open_plain(Path(given)) as file:
                    lines = file.read(_MAX_KEY_BYTES).decode().split()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"the key {given} cannot be read: {error}") from error
        try:
            keys += [VerifierKey.parse(line) for line in lines]
        except NoteInvalid as error:
            raise UsageError(f"{given}: {error.message}", hint="mas audit key show") from error
        if not lines:
            raise UsageError(f"{given} holds no key", hint="mas audit key show")
    return keys


async def _place_of(system: System, identifier: str) -> tuple[int, int]:
    from mas_core.ops import audit  # noqa: PLC0415 - it asks this module to verify

    partition, _, number = identifier.rpartition(":")
    if number.isdecimal() and (partition or "0").isdecimal():
        if not partition and system.store.width > 1:
            raise UsageError(f"{identifier} is in every partition", hint=f"mas audit prove 0:{identifier}")
        return int(partition or 0), int(number)
    found = await audit.get(system, identifier)
    if len(found) > 1:
        raise UsageError(
            f"{identifier} has {len(found)} records; a proof is of one",
            hint=[f"mas audit prove {item.partition}:{item.record.seq}" for item in found[:5]],
        )
    return found[0].partition, found[0].record.seq


def _outside(places: Sequence[Path]) -> list[bytes]:
    """The notes of files, and of folders that hold `p<P>/checkpoints`."""
    notes: list[bytes] = []
    for place in places:
        paths = sorted(place.glob(f"p*/{CHECKPOINTS_NAME}")) if place.is_dir() else [place]
        if not paths or not paths[0].exists():
            raise UsageError(f"{place} holds no checkpoints")
        for path in paths:
            notes += notes_in(path)
    return notes


def _newest_notes(folder: Path, *, but: int) -> list[bytes]:
    """The newest checkpoint of each other partition, which names this one, too."""
    notes = []
    for partition in _partitions_in(folder):
        if partition == but:
            continue
        try:
            with open_plain(folder / f"p{partition}" / CHECKPOINTS_NAME) as file:
                file.seek(max(0, file.seek(0, 2) - _TAIL))
                tail = file.read()
        except OSError:
            continue
        if (place := last_note(tail)) is not None:
            notes.append(tail[slice(*place)].removesuffix(b"\n"))
    return notes


def _partitions_in(folder: Path) -> list[int]:
    return sorted(int(path.name[1:]) for path in folder.glob("p*") if path.name[1:].isdecimal())
