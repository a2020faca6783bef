"""Files that a record must be in before anything is delivered by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Literal

from mas_core.audit.sinks.record_file import RecordFile, file_of
from mas_core.base.logs import get_logger
from mas_core.errors import MasError, SinkBehind, SinkUnavailable

log = get_logger(__name__)

Requirement = Literal["none", "any", "all"]


class RequiredFiles:
    """The files of one partition that its owner writes before each commit.

    Args:
        files: The files, from the settings.
        max_bytes: Size at which a new one is started.
        partition: Whose records.
        partitions: How many there are.
        requirement: Whether one of the files is enough, or all have to take a record.
    """

    def __init__(
        self,
        files: Sequence[Path],
        max_bytes: int,
        partition: int,
        partitions: int,
        requirement: Requirement,
    ) -> None:
        self._files = [RecordFile(file_of(path, partition, partitions), max_bytes) for path in files]
        self._requirement = requirement
        self.problems: dict[str, str] = {}
        """Path of a file that does not take records -> why."""

    async def write(self, block: bytes, epoch: int, stored: Callable[[int], AsyncIterator[bytes]]) -> None:
        """Write a block of records, one a line, and whatever is missing before it; on the disk when this returns.

        Writing waits for the disk and holds this process up for so long: what follows must not overtake it.

        Args:
            block: The records about to be committed.
            epoch: Of the owner.
            stored: Blocks of records that the store has, from a number on.

        Raises:
            SinkUnavailable: Fewer files take them than have to.
        """
        records = block.split(b"\n")
        taken = 0
        for file in self._files:
            try:
                try:
                    file.write_ahead(records, epoch)
                except SinkBehind as behind:
                    await self._catch_up(file, behind, stored)
                    file.write_ahead(records, epoch)
            except MasError as error:
                if self.problems.get(str(file.path)) != error.message:
                    log.error("sink.unavailable", path=str(file.path), reason=error.message)
                self.problems[str(file.path)] = error.message
            else:
                taken += 1
                if self.problems.pop(str(file.path), None):
                    log.warning("sink.available", path=str(file.path))
        if taken < (len(self._files) if self._requirement == "all" else 1):
            raise SinkUnavailable("; ".join(self.problems.values()))

    @staticmethod
    async def _catch_up(
        file: RecordFile, behind: SinkBehind, stored: Callable[[int], AsyncIterator[bytes]]
    ) -> None:
        last = int(str(behind.details["last_seq"]))
        async for block in stored(last + 1):
            file.append(block.split(b"\n"), sync=True)
