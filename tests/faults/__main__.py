"""`python -m tests.faults`: runs rows, prints the table, and exits with 1 when a promise was not kept."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.faults.outcome import Options, Outcome, Row, table
from tests.faults.rows import all_rows


def main() -> int:
    """Run what the command line asks for."""
    rows = all_rows()
    arguments = _parse(rows)
    if arguments.list:
        print("\n".join(f"{row.name:14} {row.full:6} {row.fault}" for row in rows.values()))
        return 0
    outcomes = []
    for name in arguments.row or rows:
        row = rows[name]
        runs = arguments.runs or (row.slice if arguments.slice else row.full)
        if runs:
            print(f"{name}: {row.fault}, {runs} times, seed {arguments.seed}", file=sys.stderr, flush=True)
            outcomes.append(
                run_row(row, runs, arguments.seed, seconds=arguments.seconds, is_slice=arguments.slice)
            )
            print(
                f"{name}: {outcomes[-1].violations} violations, {outcomes[-1].seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    print(table(outcomes))
    for outcome in outcomes:
        for text in outcome.offending:
            print(f"{outcome.row}: {text}")
    if arguments.json:
        facts = {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.platform()}",
            "python": platform.python_version(),
            "seed": arguments.seed,
            "rows": [outcome.as_json() for outcome in outcomes],
        }
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n")
    return 1 if any(outcome.violations for outcome in outcomes) else 0


def run_row(row: Row, runs: int, seed: int, *, seconds: float = 0, is_slice: bool = False) -> Outcome:
    """Run one row in a folder of its own, which stays where a promise was not kept."""
    folder = Path(tempfile.mkdtemp(prefix=f"faults-{row.name}-"))
    began = time.monotonic()
    try:
        outcome = asyncio.run(row.run(Options(runs, seed, folder, seconds, is_slice)))
    except Exception:  # noqa: BLE001 - one row must not keep the others from being run
        outcome = Outcome(row.name, row.fault, broken=1, notes="the run itself failed")
        outcome.offending.append(f"{traceback.format_exc()}logs are in {folder}")
    outcome.seconds = outcome.seconds or time.monotonic() - began
    if outcome.violations or os.environ.get("MAS_FAULTS_KEEP"):
        outcome.offending.append(f"ledgers and logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _parse(rows: dict[str, Row]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--list", action="store_true", help="print the rows, and how often a full run injects each"
    )
    parser.add_argument("--row", action="append", choices=list(rows), help="a row to run; all when left out")
    parser.add_argument("--runs", type=int, default=0, help="how often; the full number when left out")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance")
    parser.add_argument("--seconds", type=float, default=1800, help="of a soak")
    parser.add_argument("--slice", action="store_true", help="as often as continuous integration does")
    parser.add_argument("--json", type=Path, help="write everything that was counted to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
