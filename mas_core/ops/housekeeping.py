"""What the notary's process does beside its work: archive segments, trim the store, delete what is too old.

It has a connection of its own, so that neither waits for the other, and nothing that goes wrong in it stops the
signing. What is wrong is told in `problem`, which the notary's heartbeat shows.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from mas_core.base.logs import get_logger
from mas_core.errors import LockHeld, MasError, NotFound
from mas_core.model.retention import in_force
from mas_core.ops.archive import ArchiveRun, archive, audit_settings
from mas_core.ops.rbac import load
from mas_core.ops.system import System
from mas_core.settings.target import Target

log = get_logger(__name__)

FIRST_S: Final = 10.0
"""When the first run comes at the earliest: a system that was just started has other things to do."""
RETRY_S: Final = 60.0
"""When a run that failed is tried again at the latest."""


class Housekeeping:
    """Runs the archive of a system now and then.

    Args:
        target: The system.
        folder: The evidence folder; as the project says when left out.
    """

    def __init__(self, target: Target, folder: Path | None = None) -> None:
        self._target = target
        self._folder = folder
        self.problem = ""
        """What was wrong with the last run; empty when nothing was."""

    async def run(self, stop: asyncio.Event) -> None:
        """Make runs until `stop` is set."""
        every_s = audit_settings(self._target.project).archive.every_s
        wait = min(FIRST_S, every_s)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait)
                return
            wait = every_s
            if await self.once() is None and self.problem:
                wait = min(RETRY_S, every_s)

    async def once(self) -> ArchiveRun | None:
        """Make one run where there is something to do; None when there is not, or it did not come about."""
        try:
            async with System(self._target) as system:
                run = await self._run(system)
        except (LockHeld, NotFound):
            # Somebody runs it by hand, or nothing was signed yet.
            return None
        except MasError as error:
            self._tell(error.message)
            return None
        problems = (
            [kept.problem.message for kept in run.partitions if kept.problem is not None] if run else []
        )
        self._tell("; ".join(problems))
        return run

    def _tell(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.error("archive.failed", reason=problem)
        self.problem = problem

    async def _run(self, system: System) -> ArchiveRun | None:
        settings = audit_settings(system.target.project).archive
        if not settings.url and in_force((await load(system)).retention) is None:
            return None
        # Looked at first, so that the audit has no record of runs that did nothing.
        found = await archive(system, folder=self._folder, dry_run=True)
        if not any(kept.copied or kept.trimmed or kept.deleted for kept in found.partitions):
            return found
        return await archive(system, folder=self._folder)
