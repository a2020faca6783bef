"""Where and from what a run was made."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.processes import ROOT


class Machine(msgspec.Struct, frozen=True):
    """What figures depend on."""

    date: str
    commit: str
    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    load: float
    """Average load of the last minute when the run began: above 0.5 other work disturbs the figures."""

    def facts(self) -> list[str]:
        """Sentences for RESULTS.md."""
        where = (
            f"{self.date}, commit {self.commit}, {self.cores} cores of {self.processor}, "
            f"{self.memory_gb:.0f} GB, {self.system}, Python {self.python}; load {self.load:.2f} at the start."
        )
        return [where]


def this_machine() -> Machine:
    """What is known of this one."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        _commit(),
        _processor(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        pages / 2**30,
        f"{platform.system()} {platform.release()}",
        platform.python_version(),
        os.getloadavg()[0],
    )


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout

    commit = git("rev-parse", "--short", "HEAD").strip()
    return (commit or "unknown") + (" with changes" if git("status", "--porcelain", "-uno").strip() else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
