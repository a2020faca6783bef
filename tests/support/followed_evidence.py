"""Evidence of a live system, written by the writer of the notary without its process."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from support.evidence_folders import START, build_records

from mas_core.audit.archive import Archive
from mas_core.audit.archive_target import FolderTarget
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.audit.proofs import prove
from mas_core.store.records import Records


@dataclass
class Evidence:
    """An evidence folder and its keys."""

    folder: Path
    keys: CheckpointKeys

    def place(self, partition: int = 0) -> Path:
        """The folder of a partition."""
        return self.folder / f"p{partition}"

    def segments(self, partition: int = 0) -> list[Path]:
        """The closed segments, oldest first."""
        return sorted(self.place(partition).glob("*.jsonl.zst"))

    async def follow(
        self, records: Records, *, partition: int = 0, segment: int = 32, checkpoint: bool = True
    ) -> int:
        """Take in what is in the store and sign it; how many records there are now."""
        writer = EvidenceWriter(self.folder, partition, self.keys, segment_records=segment)
        try:
            async for block in records.audit_blocks(partition, first_seq=writer.size + 1):
                found = block.records()
                first = block.last_seq - len(found) + 1
                writer.append(found[max(0, writer.size + 1 - first) :])
            if checkpoint:
                writer.checkpoint(await records.time_ms())
            return writer.size
        finally:
            writer.close()


def new_evidence(root: Path, namespace: str) -> Evidence:
    """An empty evidence folder with keys of its own."""
    folder = root / "audit"
    return Evidence(folder, CheckpointKeys(folder, root / "audit-keys", namespace))


def write_archive(root: Path, cold: Path) -> None:
    """An archive at `cold` with one segment of 64 records of a system that is gone."""
    made = new_evidence(root / "gone", "mas")
    writer = EvidenceWriter(made.folder, 0, made.keys, segment_records=64)
    writer.append(build_records(70))
    writer.checkpoint(START)
    writer.close()
    cold.mkdir()
    Archive(made.folder, made.keys, FolderTarget(cold / "mas-gone")).copy_partition(0)
    shutil.rmtree(root / "gone")


def write_proof(root: Path) -> None:
    """An evidence folder `evidence` in `root`, its public key `audit.pub`, and the proof of a record of it."""
    folder = root / "evidence"
    keys = CheckpointKeys(folder, root / "evidence-keys", "mas")
    writer = EvidenceWriter(folder, 0, keys, segment_records=64)
    writer.append(build_records(70))
    writer.checkpoint(START)
    writer.close()
    shutil.copy(folder / "audit.pub", root / "audit.pub")
    with EvidenceReader(folder, 0) as reader:
        (root / "proof.json").write_bytes(prove(reader, 17, keys.public))
