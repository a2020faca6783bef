"""Evidence folders made by hand from the format, without the code that writes them in a running system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import zstandard

from mas_core.audit.chain import Chain
from mas_core.audit.merkle import TreeHead, leaf_hash
from mas_core.model.audit_record import AuditRecord

FRAME_RECORDS = 256
START = 1_700_000_000_000


def build_records(count: int, *, note: str = "") -> list[bytes]:
    """The encoded records of a chain, 10 milliseconds after each other."""
    chain = Chain()
    return [
        chain.append(
            AuditRecord(
                seq=0,
                time=START + number * 10,
                decision="allowed",
                rule=f"r{number % 7}",
                sender=f"agent-{number % 13}",
                target="ledger",
                type="invoice.create",
                message_id=f"01J{number:023}",
                size=number % 1000,
                payload_hmac=f"{number:064x}",
                details={"note": note + "x" * (number % 40)},
                prev="",
            )
        )
        for number in range(1, count + 1)
    ]


def compressed(records: Sequence[bytes]) -> bytes:
    """A closed segment: a zstd frame for each 256 records."""
    packer = zstandard.ZstdCompressor(write_checksum=True)
    return b"".join(
        packer.compress(b"".join(record + b"\n" for record in records[at : at + FRAME_RECORDS]))
        for at in range(0, len(records), FRAME_RECORDS)
    )


def tree_hashes(records: Sequence[bytes]) -> bytes:
    """The sequence of tree hashes over these records."""
    tree = TreeHead()
    return b"".join(b"".join(tree.append(leaf_hash(record))) for record in records)


def write_records(
    folder: Path, records: Sequence[bytes], *, segment: int, partition: int = 0, hashes: bool = True
) -> Path:
    """`p<P>` with closed segments of `segment` records and the rest open; returns it."""
    place = folder / f"p{partition}"
    place.mkdir(parents=True, exist_ok=True)
    closed = len(records) // segment * segment
    for at in range(0, closed, segment):
        name = f"{at + 1:012}-{at + segment:012}.jsonl.zst"
        (place / name).write_bytes(compressed(records[at : at + segment]))
    (place / "open.jsonl").write_bytes(b"".join(record + b"\n" for record in records[closed:]))
    if hashes:
        (place / "hashes").write_bytes(tree_hashes(records))
    return place
