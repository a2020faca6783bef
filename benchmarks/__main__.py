"""`python -m benchmarks`: measure, print the table, and write it as JSON, Markdown and a picture."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.machine import this_machine
from benchmarks.options import Options
from benchmarks.plot import as_svg
from benchmarks.processes import ROOT
from benchmarks.table import Row, as_markdown, as_text, not_measured
from mas_core.base.event_loop import run

ROWS = (
    "gateway_cpu",
    "end_to_end",
    "peers",
    "latency",
    "request_reply",
    "server_mode",
    "many_agents",
    "heartbeats",
    "policy_change",
    "two_gateways",
    "topics",
    "event_dispatch",
    "audit_query",
    "audit_export",
    "audit_verify",
    "first_paint",
    "live_pane",
    "votes",
)


async def measure(names: list[str], options: Options) -> list[Row]:
    """All rows of these modules; what fails is a row that says so."""
    rows: list[Row] = []
    for name in names:
        began = time.monotonic()
        try:
            found = await importlib.import_module(f"benchmarks.rows.{name}").measure(options)
        except Exception as error:  # noqa: BLE001 - one row that fails must not cost the others
            found = [not_measured(name, "", f"failed: {type(error).__name__}: {error}")]
        rows += found
        print(f"-- {name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        print(as_text(found), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all when left out")
    parser.add_argument("--rounds", type=int, default=5, help="passes over product and baselines")
    parser.add_argument("--profile", choices=("durable", "fast"), default="durable", help="of the server")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual counts")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "out", help="folder for the results"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(ROWS)
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    machine = this_machine()
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    rows = run(
        measure(arguments.rows or list(ROWS), Options(arguments.rounds, arguments.profile, arguments.scale))
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    document = {"command": command, "machine": machine, "rows": rows}
    (arguments.out / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    facts = [*machine.facts(), f"`{command}`; {arguments.rounds} rounds; median, smallest and largest."]
    (arguments.out / "results.md").write_text(as_markdown(rows, machine.date[:10], facts))
    picture = as_svg(rows, f"mas, {machine.date[:10]}")
    (arguments.out / "results.svg").write_text(picture)
    if not arguments.rows and arguments.scale >= 1:
        # What is measured as a whole stands beside the results that are kept.
        (ROOT / "benchmarks" / "RESULTS.svg").write_text(picture)
    print(as_text(rows))
    print(f"\nwritten to {arguments.out}/results.json, results.md and results.svg")


if __name__ == "__main__":
    main()
