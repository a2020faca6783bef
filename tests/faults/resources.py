"""What processes use while they run: resident memory and open files, and how that changes with time."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
WARM_UP = 0.25
"""Share of the time that does not count: caches fill."""


@dataclass(frozen=True)
class Sample:
    """What a process used at a moment."""

    time: float
    memory: float
    files: float


class Resources:
    """Samples processes once a second.

    Args:
        pids: Name -> process.
        store_bytes: Memory of the store that should not grow, if it can be asked.
    """

    def __init__(self, pids: Mapping[str, int], store_bytes: Callable[[], Awaitable[float | None]]) -> None:
        self._pids = pids
        self._store_bytes = store_bytes
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Take no more samples."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            for name, pid in self._pids.items():
                if (sample := sample_of(pid, now)) is not None:
                    self._samples[name].append(sample)
            if (used := await self._store_bytes()) is not None:
                self._samples["store"].append(Sample(now, used, 0))
            await asyncio.sleep(1)

    def slopes(self) -> dict[str, float]:
        """Name and measure -> megabytes, or open files, that come with each minute after the warm-up."""
        found = {}
        for name, samples in self._samples.items():
            kept = samples[int(len(samples) * WARM_UP) :]
            if len(kept) > 2:
                times = [item.time for item in kept]
                found[f"{name} MB/min"] = 60 / 1e6 * _slope(times, [item.memory for item in kept])
                found[f"{name} files/min"] = 60 * _slope(times, [item.files for item in kept])
        return found

    def most(self) -> dict[str, float]:
        """Name -> megabytes at most."""
        return {
            f"{name} MB": max(item.memory for item in samples) / 1e6
            for name, samples in self._samples.items()
        }


def sample_of(pid: int, now: float) -> Sample | None:
    """What a process uses; None when there is none."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Sample(now, pages * PAGE, len(list(Path(f"/proc/{pid}/fd").iterdir())))
    except OSError:
        return None


def _slope(times: list[float], values: list[float]) -> float:
    return statistics.linear_regression(times, values).slope
