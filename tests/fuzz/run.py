"""Feeds every parser for a while and prints what came of it: `make fuzz SECONDS=600`.

With atheris installed (`pip install atheris`) the parsers are fuzzed by coverage, each in a process of its own;
without it seeds are mutated at random. What breaks a parser is kept in FOLDER and is repeatable.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


def by_mutation(name: str, seconds: float, folder: Path, seed: int) -> tuple[int, int]:
    """Runs and crashes of one parser within the time."""
    from fuzz.mutations import mutated
    from fuzz.parsers import parsers

    parser = next(item for item in parsers() if item.name == name)
    rnd = random.Random(seed)
    end = time.monotonic() + seconds
    runs = crashes = 0
    while time.monotonic() < end:
        data = mutated(rnd, parser.seeds)
        runs += 1
        try:
            parser.run(data)
        except Exception:  # noqa: BLE001 - whatever it raises is a finding
            crashes += 1
            kept = folder / f"{name.replace(' ', '-')}-{crashes}.bin"
            kept.write_bytes(data)
            if crashes <= 3:
                sys.stderr.write(f"{name}: {kept}\n{traceback.format_exc()}\n")
    return runs, crashes


def by_coverage(name: str, seconds: float, folder: Path) -> tuple[int, int]:
    """The same, guided by which lines are reached."""
    corpus = folder / f"corpus-{name.replace(' ', '-')}"
    corpus.mkdir(exist_ok=True)
    ran = subprocess.run(
        [sys.executable, __file__, "--inside", name, "--corpus", str(corpus), "--seconds", str(int(seconds))],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    counts = re.findall(r"^(?:Done |stat::number_of_executed_units:\s*|#)([0-9]+)", ran.stderr, re.MULTILINE)
    if ran.returncode:
        sys.stderr.write(f"{name}:\n{ran.stderr[-3000:]}\n")
    return max(map(int, counts), default=0), int(ran.returncode != 0)


def inside(name: str, corpus: Path, seconds: int) -> None:
    """One parser under atheris; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["mas_core"]):
        from fuzz.parsers import parsers
    parser = next(item for item in parsers() if item.name == name)
    for number, seed in enumerate(parser.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-max_total_time={seconds}", "-max_len=20000", "-rss_limit_mb=2048"],
        lambda data: parser.run(bytes(data)),
    )
    atheris.Fuzz()


def main() -> int:
    """All parsers, one after the other; 1 when one of them broke."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60.0, help="for each parser")
    arguments.add_argument("--parser", default="", help="only this one")
    arguments.add_argument("--seed", type=int, default=0, help="of the mutations; the time when 0")
    arguments.add_argument("--inside", default="", help=argparse.SUPPRESS)
    arguments.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.inside:
        inside(given.inside, given.corpus, int(given.seconds))
        return 0
    from fuzz.parsers import parsers

    folder = Path(tempfile.mkdtemp(prefix="mas-fuzz-"))
    seed = given.seed or int(time.time())
    how = "guided by coverage" if HAS_ATHERIS else f"by mutation, seed {seed}"
    print(f"{how}, {given.seconds:g} s a parser; what breaks one is in {folder}")
    print(f"{'PARSER':<20} {'RUNS':>10} {'CRASHES':>8}")
    total = 0
    for parser in parsers():
        if given.parser in ("", parser.name):
            runs, crashes = (
                by_coverage(parser.name, given.seconds, folder)
                if HAS_ATHERIS
                else by_mutation(parser.name, given.seconds, folder, seed)
            )
            total += crashes
            print(f"{parser.name:<20} {runs:>10,} {crashes:>8}", flush=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
