"""Memory of an export at one and at several million records, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.evidence_folders import write_folder
from benchmarks.options import Options
from benchmarks.processes import ROOT
from benchmarks.table import Row

SMALL = 1_000_000
TIMES = 4

_PROGRAM = """
import asyncio, json, resource, sys, time
from pathlib import Path
from mas_core.ops.audit_exports import ExportRequest
from mas_core.ops.audit_files import export_to_file
from mas_core.ops.system import System
from mas_core.settings.target import Target

async def main(keys, format_name, out):
    async with System(Target("memory://audit-export", keys_dir=Path(keys))) as system:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        done = await export_to_file(system, ExportRequest(format_name), Path(out), warn=lambda _: None)
        took = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = (peak - before) / 1024
        print(json.dumps({"rows": done.result.rows, "s": took, "peak": peak / 1024, "grown": grown}))

asyncio.run(main(*sys.argv[1:]))
"""


async def measure(options: Options) -> list[Row]:
    """The ratio of peak memory at the larger and at the smaller log, by format."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="mas-bench-") as root:
        logs = []
        for name, count in (
            ("small", options.count(SMALL, 70_000)),
            ("large", options.count(SMALL * TIMES, 280_000)),
        ):
            place = Path(root) / name
            (place / "keys").mkdir(parents=True)
            await asyncio.to_thread(write_folder, place / "audit", count)
            logs.append(place)
        for format_name in ("jsonl", "csv", "parquet"):
            less, more = [await _exported(place, format_name) for place in logs]
            rows.append(
                Row(
                    f"peak memory of an export as {format_name}, {TIMES} times the records",
                    "at most 1.1 times",
                    [more["peak"] / less["peak"]],
                    at_most=1.1,
                    figures={
                        "MB": more["peak"],
                        "MB over an idle process": more["grown"],
                        "records": more["rows"],
                        "records/s": more["rows"] / more["s"],
                    },
                )
            )
    return rows


async def _exported(place: Path, format_name: str) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, str(place / "keys"), format_name, str(place / "out"),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, _ = await process.communicate()
    (place / "out").unlink(missing_ok=True)
    found: dict[str, float] = json.loads(out)
    return found
