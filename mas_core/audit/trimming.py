"""Takes old records out of the store, once they are safe elsewhere.

What is taken out cannot be asked of the store again, so everything is looked at right before, not remembered: the
records lie in closed segments on the disk, a checkpoint whose signature was just checked covers them, the store
holds the very same bytes, the archive, where there is one, gives them back, and all are older than the hot period
by the server's clock. Whatever is not so stops the trimming there, and everything from there on stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.archive import Archive
from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.durable_files import sync_folder
from mas_core.audit.evidence_reader import CHECKPOINTS_NAME, HASHES_NAME, EvidenceReader, Segment, open_plain
from mas_core.audit.note import VerifierKey
from mas_core.audit.record_proof import prove_records, signed_checkpoint
from mas_core.base.clock import now_ms, rfc3339
from mas_core.errors import EvidenceDamaged, MasError
from mas_core.store.records import AuditBlock, Records

RUN_RECORDS: Final = 65_536
"""Records that are compared, and then taken out, at once."""
MAX_SKEW_MS: Final = 300_000
"""How far the clocks of server and machine may be apart while anything is taken out or deleted."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What one run did for a partition."""

    records: int
    """Records that were taken out of the store; with a dry run, that would be."""
    last: int
    """Number of the last of them; 0 when there was none."""
    stopped: str
    """Why it went no further, in words."""
    problem: MasError | None = None
    """What is wrong, when that is why."""


class Trimmer:
    """Trims the log of one partition; use it once.

    Args:
        records: The store's records.
        folder: The evidence folder.
        partition: Which partition.
        keys: Public keys whose checkpoints count.
        archive: What has to hold each segment too; None where the evidence folder alone does.
        clock: The time of this machine, Unix milliseconds.
        run_records: Records that are compared, and then taken out, at once.
    """

    def __init__(
        self,
        records: Records,
        folder: Path,
        partition: int,
        keys: Sequence[VerifierKey],
        *,
        archive: Archive | None = None,
        clock: Callable[[], int] = now_ms,
        run_records: int = RUN_RECORDS,
    ) -> None:
        self._records = records
        self._reader = EvidenceReader(folder, partition)
        self._partition = partition
        self._keys = keys
        self._archive = archive
        self._clock = clock
        self._run_records = run_records
        self._segments: list[Segment] = []
        self._safe: set[Segment] = set()
        """Segments that were found whole here and in the archive."""
        self._count = self._last = 0

    async def trim(self, hot_ms: int, *, dry_run: bool = False) -> Trimmed:
        """Take the records out of the store that are older than the hot period, oldest first.

        Args:
            hot_ms: How long records stay in the store.
            dry_run: Look at everything, and take nothing out.
        """
        problem = None
        try:
            with self._reader:
                stopped = await self._trim(hot_ms, dry_run=dry_run)
        except MasError as error:
            stopped, problem = error.message, error
        return Trimmed(self._count, self._last, stopped, problem)

    async def _trim(self, hot_ms: int, *, dry_run: bool) -> str:
        now = await self._records.time_ms()
        if problem := clock_problem(now, self._clock()):
            return problem
        checkpoint = signed_checkpoint(self._reader, self._keys)
        if checkpoint is None:
            return "there is no checkpoint yet"
        if now < checkpoint.time:
            return f"the server's clock is before the newest checkpoint of {rfc3339(checkpoint.time)}"
        newest, _ = await self._records.audit_head(self._partition)
        if newest < checkpoint.size:
            raise EvidenceDamaged(
                f"the store ends at record {newest} of partition {self._partition}, and more was signed",
                hint=("mas audit verify", "mas audit resume --accept-restore --reason REASON"),
                path=str(self._reader.path),
                first_bad=newest + 1,
            )
        await self._require_continued(checkpoint)
        self._segments = [item for item in self._reader.segments() if item.last <= checkpoint.size]
        limit = min(self._segments[-1].last if self._segments else 0, newest - 1)
        waiting: list[AuditBlock] = []
        count = 0
        stopped = ""
        async for block in self._records.audit_blocks(self._partition):
            stopped = _why_it_stays(block, limit, now - hot_ms)
            if stopped:
                break
            waiting.append(block)
            count += len(block.records())
            if count >= self._run_records:
                if stopped := await self._take_out(waiting, checkpoint, dry_run=dry_run):
                    return stopped
                waiting, count = [], 0
        return (await self._take_out(waiting, checkpoint, dry_run=dry_run) if waiting else "") or stopped

    async def _require_continued(self, checkpoint: Checkpoint) -> None:
        """Make sure that the store has the very record that the checkpoint ends with, and so goes on from it."""
        async for block in self._records.audit_blocks(self._partition, first_seq=checkpoint.size):
            records = block.records()
            at = checkpoint.size - (block.last_seq - len(records) + 1)
            if 0 <= at < len(records) and hashlib.sha256(records[at]).hexdigest() == checkpoint.head:
                return
            break
        raise EvidenceDamaged(
            f"record {checkpoint.size} of partition {self._partition} in the store is not the one that was signed",
            hint="mas audit verify",
            path=str(self._reader.path),
            first_bad=checkpoint.size,
        )

    async def _take_out(self, blocks: Sequence[AuditBlock], checkpoint: Checkpoint, *, dry_run: bool) -> str:
        """Take these blocks out of the store, or say why not."""
        first, last = blocks[0].last_seq - len(blocks[0].records()) + 1, blocks[-1].last_seq
        if stopped := await asyncio.to_thread(self._make_sure, first, last, checkpoint):
            return stopped
        digest = hashlib.sha256(b"".join(block.text + b"\n" for block in blocks)).digest()
        if digest != await asyncio.to_thread(prove_records, self._reader, checkpoint, first, last):
            bad = await asyncio.to_thread(self._first_difference, blocks, first, last)
            raise EvidenceDamaged(
                f"record {bad} of partition {self._partition} in the store is not the one that was signed",
                hint="mas audit verify",
                path=str(self._reader.path),
                first_bad=bad,
            )
        if not dry_run:
            await self._records.trim_audit(self._partition, last + 1)
        self._count += last - first + 1
        self._last = last
        return ""

    def _make_sure(self, first: int, last: int, checkpoint: Checkpoint) -> str:
        """Make sure that the segments with these records are on the disk and in the archive, or say what lacks."""
        for segment in self._segments:
            if segment.last < first or segment.first > last or segment in self._safe:
                continue
            for name in (segment.path, self._reader.path / HASHES_NAME, self._reader.path / CHECKPOINTS_NAME):
                _sync(name)
            sync_folder(self._reader.path)
            digest = prove_records(self._reader, checkpoint, segment.first, segment.last)
            if self._archive is not None and not self._archive.holds(segment, digest):
                return f"the segment {segment.path.name} is not in the archive yet"
            self._safe.add(segment)
        return ""

    def _first_difference(self, blocks: Sequence[AuditBlock], first: int, last: int) -> int:
        stored = (record for block in blocks for record in block.records())
        at = first
        for (seq, record), found in zip(self._reader.records(first, last), stored, strict=False):
            if record != found or seq != at:
                break
            at += 1
        return at


def clock_problem(server_ms: int, machine_ms: int) -> str:
    """Why the clocks cannot be believed; empty when they can."""
    if abs(server_ms - machine_ms) <= MAX_SKEW_MS:
        return ""
    return (
        f"the clocks of the server ({rfc3339(server_ms)}) and of this machine ({rfc3339(machine_ms)}) "
        f"are more than {MAX_SKEW_MS // 60_000} minutes apart"
    )


class _Moment(msgspec.Struct):
    time: int


_read_moment = msgspec.json.Decoder(_Moment).decode


def _why_it_stays(block: AuditBlock, limit: int, before: int) -> str:
    """Why a block stays in the store; empty when it may be old enough to go."""
    if block.last_seq > limit:
        return f"record {block.last_seq} is in no closed segment that a checkpoint covers"
    for record in block.records():
        try:
            moment = _read_moment(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return f"a record of the block that ends at {block.last_seq} cannot be read"
        if moment.time > before:
            return f"a record of the block that ends at {block.last_seq} is younger than the hot period"
    return ""


def _sync(path: Path) -> None:
    with closing(open_plain(path)) as file:
        os.fsync(file.fileno())
