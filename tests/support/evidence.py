"""Evidence folders for tests: chained records, keys, and a writer over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mas_core.audit.chain import Chain
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.model.audit_record import AuditRecord

TIME = 1_760_000_000_000


def chained(count: int, chain: Chain | None = None, **fields: Any) -> list[bytes]:
    """So many records as the store holds them; they go on from `chain`, which is moved along."""
    chain = chain if chain is not None else Chain()
    return [
        chain.append(
            AuditRecord(
                seq=0,
                time=TIME + chain.seq,
                **{
                    "decision": "allowed",
                    "sender": f"agent-{chain.seq % 7}",
                    "target": "ledger",
                    "type": "invoice.create",
                    "message_id": f"m{chain.seq}",
                    **fields,
                },
            )
        )
        for _ in range(count)
    ]


def checkpoint_keys(folder: Path, namespace: str = "mas", keys_dir: Path | None = None) -> CheckpointKeys:
    """The keys of the evidence in `folder`, with the private ones beside it unless said otherwise."""
    return CheckpointKeys(folder, keys_dir or folder.parent / f"{folder.name}.keys", namespace)


def evidence(
    folder: Path, records: list[bytes], *, every: int = 256, partition: int = 0, **options: Any
) -> CheckpointKeys:
    """Write an evidence folder with these records and a checkpoint after each `every` of them."""
    keys = checkpoint_keys(folder)
    writer = EvidenceWriter(folder, partition, keys, **options)
    for start in range(0, len(records), every):
        writer.append(records[start : start + every])
        writer.checkpoint(TIME + start)
    writer.close()
    return keys
