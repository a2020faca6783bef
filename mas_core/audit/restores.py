"""Goes on after a restore that somebody accepted: the log of a partition begins a new era.

Who accepts writes a request into the evidence folder; whoever has the folder carries it out. The old evidence
keeps all it has under another name. Where the store was trimmed, the new era begins with the old records up to
the first that the store still has, since its chain goes on from them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.checkpoint_log import newest_note
from mas_core.audit.era import ERA_FILE, EraFile
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.evidence_writer import CHECKPOINTS_FILE, HASHES_FILE, EvidenceWriter, partition_folder
from mas_core.audit.merkle import HASH_SIZE, stored_count
from mas_core.audit.note import Note
from mas_core.audit.partition_notary import PartitionNotary
from mas_core.audit.segments import segments_in
from mas_core.errors import EvidenceDamaged, LogDiscontinued, NoteInvalid
from mas_core.settings.private_files import private_dir, read_private, write_private
from mas_core.store.store import Store

REQUEST_FILE: Final = "resume.json"
_DRAFTS = ".eras"
_BATCH = 4096


class RestoreAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """That somebody accepts what the store holds now."""

    reason: str
    by: str
    time: int
    """Unix milliseconds by the server's clock."""


def ask_to_accept(folder: Path, request: RestoreAccepted) -> Path:
    """Leave a request in the evidence folder; it is gone once it was carried out."""
    return write_private(private_dir(folder) / REQUEST_FILE, msgspec.json.encode(request))


async def carry_out_request(
    folder: Path, keys: CheckpointKeys, store: Store, partitions: Sequence[PartitionNotary]
) -> list[int]:
    """Carry out the request that lies in the folder, if there is one.

    Returns:
        The partitions whose log began anew.

    Raises:
        EvidenceDamaged: The old evidence does not reach to what the store still has.
        OSError: The folder cannot be written.
    """
    path = folder / REQUEST_FILE
    if not path.exists():
        return []
    try:
        request = msgspec.json.decode(read_private(path), type=RestoreAccepted)
    except msgspec.DecodeError:
        return []
    else:
        return await _accept(folder, keys, store, partitions, request)
    finally:
        path.unlink(missing_ok=True)


async def accept_now(folder: Path, keys_dir: Path, store: Store, request: RestoreAccepted) -> list[int]:
    """Begin anew where the store does not continue the evidence; for whoever has the folder locked.

    Returns:
        The partitions whose log began anew.

    Raises:
        EvidenceDamaged: The old evidence does not reach to what the store still has.
        OSError: The folder cannot be written.
        SecretUnavailable, ConfigurationError: The keys cannot be used.
    """
    keys = CheckpointKeys(folder, keys_dir, store.namespace)
    partitions = [PartitionNotary(folder, number, keys) for number in range(store.width)]
    try:
        for partition, (seq, head) in zip(partitions, await store.records.audit_heads(), strict=True):
            now = time.monotonic()
            if (writer := partition.ready(now)) is not None and seq > writer.size:
                found = await store.records.new_audit_blocks({partition.partition: writer.size}, 1, 1)
                partition.compare([block for _, block in found], now)
            partition.check_head(seq, head, now)
        return await _accept(folder, keys, store, partitions, request)
    finally:
        for partition in partitions:
            partition.close()


async def _accept(
    folder: Path,
    keys: CheckpointKeys,
    store: Store,
    partitions: Sequence[PartitionNotary],
    request: RestoreAccepted,
) -> list[int]:
    begun = []
    for partition in partitions:
        if partition.is_refused:
            first = await store.records.first_audit_seq(partition.partition)
            partition.close()
            begin_era(folder, partition.partition, keys, request, first)
            partition.begin_anew()
            begun.append(partition.partition)
    return begun


def begin_era(
    folder: Path, partition: int, keys: CheckpointKeys, request: RestoreAccepted, first_stored: int
) -> Path:
    """Put the evidence of a partition aside and begin anew.

    Args:
        folder: The evidence folder.
        partition: Whose log begins anew.
        keys: Of the folder.
        request: Who accepts that, and why.
        first_stored: Number of the first record that the store still has.

    Returns:
        Where the old evidence is now.

    Raises:
        EvidenceDamaged: The old evidence does not reach to `first_stored`.
        OSError: The folder cannot be written.
    """
    own = partition_folder(folder, partition)
    number = 1
    while (old := own.with_name(f"{own.name}.era{number}")).exists():
        number += 1
    size, root = _signed_state(own)
    drafts = private_dir(folder / _DRAFTS)
    draft = partition_folder(drafts, partition)
    shutil.rmtree(draft, ignore_errors=True)
    private_dir(draft)
    era = EraFile(era=number, size=size, root=root, reason=request.reason, by=request.by, time=request.time)
    write_private(draft / ERA_FILE, msgspec.json.encode(era))
    if first_stored > 1:
        _take_over(own, drafts, partition, keys, first_stored - 1)
    own.rename(old)
    draft.rename(own)
    shutil.rmtree(drafts, ignore_errors=True)
    return old


def _signed_state(own: Path) -> tuple[int, str]:
    """Size and root that were signed last, as the folder has them."""
    with suppress(OSError, NoteInvalid), (own / CHECKPOINTS_FILE).open("rb") as file:
        data, _ = newest_note(file.fileno())
        if data is not None:
            checkpoint = Checkpoint.parse(Note.parse(data).text)
            return checkpoint.size, checkpoint.root.hex()
    return 0, ""


def _take_over(own: Path, drafts: Path, partition: int, keys: CheckpointKeys, last: int) -> None:
    """Begin with the old records up to number `last`."""
    draft = partition_folder(drafts, partition)
    closed = 0
    for segment in segments_in(own):
        if segment.last <= last:
            os.link(segment.path, draft / segment.path.name)
            closed = segment.last
    with (own / HASHES_FILE).open("rb") as old:
        # Those of segments that went to an archive have no other source.
        write_private(draft / HASHES_FILE, old.read(stored_count(closed) * HASH_SIZE))
    writer = EvidenceWriter(drafts, partition, keys)
    try:
        batch: list[bytes] = []
        for _, record in EvidenceReader(own.parent, partition).records(closed + 1, last):
            batch.append(record)
            if len(batch) == _BATCH:
                writer.append(batch)
                batch = []
        writer.append(batch)
    except LogDiscontinued as error:
        raise _out_of_reach(own, last) from error
    finally:
        writer.close()
    if writer.size != last:
        raise _out_of_reach(own, last)


def _out_of_reach(own: Path, last: int) -> EvidenceDamaged:
    return EvidenceDamaged(
        f"the store begins after record {last}, and the evidence in {own} does not reach there",
        hint=("mas audit restore", "mas audit verify"),
        path=str(own),
    )
