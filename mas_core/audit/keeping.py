"""One run over an evidence folder: archive, then trim the store, then delete what is too old.

The notary makes such runs beside its work, and `mas audit archive` makes one at once. One at a time
works on a folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mas_core.audit.archive import Archive, Copied, Keys
from mas_core.audit.archive_target import ArchiveTarget
from mas_core.audit.deletion import Deleted, Deletion
from mas_core.audit.trimming import Trimmed, Trimmer
from mas_core.base.clock import now_ms
from mas_core.errors import LockHeld, MasError
from mas_core.model.retention import DAY_MS, RetentionRule
from mas_core.settings.file_locks import file_lock
from mas_core.store.records import Records

LOCK_FILE: Final = "archive.lock"


@dataclass(frozen=True, slots=True)
class Kept:
    """What one run did for a partition."""

    partition: int
    copied: tuple[str, ...]
    """Names of the segments that were copied to the archive."""
    archived: int
    """Segments that the archive has now."""
    trimmed: int
    """Records that were taken out of the store."""
    trimmed_to: int
    """Number of the last of them; 0 when there was none."""
    deleted: tuple[str, ...]
    """Names of the segments that were deleted."""
    stopped: str
    """Why it went no further, in words."""
    problem: MasError | None
    """What is wrong, when that is why."""


class Keeper:
    """Keeps an evidence folder as a retention policy wants it.

    Args:
        records: The store's records.
        folder: The evidence folder.
        keys: Its keys.
        target: The archive; None where there is none.
        clock: The time of this machine, Unix milliseconds.
    """

    def __init__(
        self,
        records: Records,
        folder: Path,
        keys: Keys,
        target: ArchiveTarget | None = None,
        *,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._records = records
        self._folder = folder
        self._keys = keys
        self._target = target
        self._clock = clock

    async def run(
        self,
        partitions: Sequence[int],
        rule: RetentionRule | None,
        *,
        dry_run: bool = False,
        on_copied: Callable[[str], object] | None = None,
    ) -> list[Kept]:
        """Archive, trim and delete, partition by partition; what is wrong with one stops only that one.

        Args:
            partitions: Which ones.
            rule: What all frameworks in force ask for together; None leaves the store as it is.
            dry_run: Look at everything, and change nothing.
            on_copied: Gets the name of each segment that was copied.

        Raises:
            LockHeld: Another run is at work on this folder.
            ConfigurationError: The folder cannot be used.
        """
        with file_lock(self._folder / LOCK_FILE, lambda _: _taken(self._folder)):
            return [await self._keep(number, rule, dry_run, on_copied) for number in partitions]

    async def _keep(
        self,
        partition: int,
        rule: RetentionRule | None,
        dry_run: bool,
        on_copied: Callable[[str], object] | None,
    ) -> Kept:
        archive = None
        copied = Copied((), 0)
        if self._target is not None:
            archive = Archive(self._folder, self._keys, self._target)
            try:
                copied = await asyncio.to_thread(
                    archive.copy_partition, partition, on_copied, dry_run=dry_run
                )
                if not dry_run:
                    await asyncio.to_thread(archive.copy_eras)
            except MasError as error:
                return Kept(partition, (), 0, 0, 0, (), error.message, error)
        trimmed = Trimmed(0, 0, "no retention is in force, so everything stays in the store")
        deleted = Deleted((), "")
        if rule is not None:
            trimmer = Trimmer(
                self._records, self._folder, partition, self._keys.public, archive=archive, clock=self._clock
            )
            trimmed = await trimmer.trim(rule.hot_days * DAY_MS, dry_run=dry_run)
            if rule.delete and trimmed.problem is None:
                deletion = Deletion(
                    self._records, self._folder, partition, self._keys, archive=archive, clock=self._clock
                )
                deleted = await deletion.run(rule, dry_run=dry_run)
        return Kept(
            partition,
            copied.segments,
            copied.there,
            trimmed.records,
            trimmed.last,
            deleted.segments,
            deleted.stopped if deleted.problem is not None else trimmed.stopped,
            trimmed.problem or deleted.problem,
        )


def _taken(folder: Path) -> LockHeld:
    return LockHeld(
        f"another run works on {folder}", hint="mas audit notary status", path=str(folder / LOCK_FILE)
    )
