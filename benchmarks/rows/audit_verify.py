"""How fast an evidence folder is verified, chain, tree and every checkpoint, and how much memory that takes.

`python -m benchmarks.rows.audit_verify DIR` verifies one and prints what it cost: a process of its own, so that
its memory is its own.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.options import Options
from benchmarks.processes import ROOT
from benchmarks.table import Row
from mas_core.audit.chain import Chain
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.audit.folder_verify import verify_folder
from mas_core.audit.trusted_keys import trusted_keys
from mas_core.model.audit_record import AuditRecord

EVERY = 256


async def measure(options: Options) -> list[Row]:
    """Records a second of processor time, on one core; memory for a log and for a tenth of it."""
    count = options.count(1_000_000, 2_000)
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large", Path(folder) / "small"
        size = write_log(large, count)
        write_log(small, max(1_000, count // 10))
        runs = [await _verified(large) for _ in range(options.rounds)]
        small_run = await _verified(small)
    assert all(run["ok"] and run["records"] == count for run in runs)
    memory = statistics.median(run["rss_mb"] for run in runs)
    return [
        Row(
            "verification of an evidence folder, records a second on one core",
            "at least 50,000",
            [run["records"] / run["cpu_s"] for run in runs],
            "records/s",
            at_least=50_000,
            figures={
                "records": count,
                "bytes a record": size / count,
                "checkpoints": runs[0]["checkpoints"],
                "MB of memory": memory,
                "MB with a tenth of the records": small_run["rss_mb"],
            },
            note="every leaf, link, stored hash, root and signature",
        )
    ]


def write_log(folder: Path, count: int) -> int:
    """An evidence folder with so many records and a checkpoint for each 256; the bytes of its records."""
    keys = CheckpointKeys(folder, folder.parent / f"{folder.name}-keys", "bench")
    writer = EvidenceWriter(folder, 0, keys)
    chain = Chain()
    size = 0
    for at in range(0, count, EVERY):
        records = [
            chain.append(
                AuditRecord(
                    seq=0,
                    time=1_700_000_000_000 + number,
                    decision="allowed",
                    rule=f"r{number % 997}",
                    sender=f"agent-{number % 199}",
                    key_id="k3f9a1c2",
                    target=f"ledger-{number % 50}",
                    type="invoice.create",
                    message_id=f"01JD{number:022}",
                    instance=f"i{number % 400:08}",
                    size=1024,
                    payload_hmac=f"{number:064x}",
                    gateway="gw-1a2b3c4d",
                    prev="",
                )
            )
            for number in range(at + 1, min(at + EVERY, count) + 1)
        ]
        size += sum(map(len, records))
        writer.append(records)
        writer.checkpoint(1_700_000_000_000 + at)
    writer.close()
    return size


async def _verified(folder: Path) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(folder), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


def main(folder: Path) -> None:
    began = time.process_time()
    found = verify_folder(folder, 0, trusted_keys(folder, ()))
    used = resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "cpu_s": time.process_time() - began,
        "rss_mb": used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
    }
    print(json.dumps({"ok": found.ok, "records": found.records, "checkpoints": found.checkpoints, **cost}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
