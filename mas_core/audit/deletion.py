"""Deletes segments that are older than every framework in force wants them, where each says so.

First the note that says it is signed and on the disk, then sealed copies of payloads and the archive's copies go,
then the segments; so what was interrupted is finished by the next run. Hashes and checkpoints stay, here and in the
archive: the rest verifies as before. The newest closed segment stays in any case.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.archive import Archive, Keys, archived_name, hashes_name
from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.deleted_records import DELETED_FILE, DeletedRecords, read_deleted
from mas_core.audit.durable_files import append_durably, sync_folder
from mas_core.audit.evidence_reader import EvidenceReader, Segment
from mas_core.audit.merkle import TreeHead, stored_count
from mas_core.audit.record_proof import prove_records, signed_checkpoint
from mas_core.audit.trimming import clock_problem
from mas_core.base.clock import now_ms, rfc3339
from mas_core.errors import MasError
from mas_core.model.retention import DAY_MS, YEAR_DAYS, RetentionRule, describe_retention
from mas_core.store.records import Records

MAX_SILENCE_MS: Final = 30 * DAY_MS
"""How old the newest checkpoint may be for the clock to be believed: a log that grew tells that time went by."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What one run deleted of a partition."""

    segments: tuple[str, ...]
    """Names of the segments that went; with a dry run, that would go."""
    stopped: str
    """Why no more, in words."""
    problem: MasError | None = None
    """What is wrong, when that is why."""


class _Moment(msgspec.Struct):
    time: int


_read_moment = msgspec.json.Decoder(_Moment).decode


class Deletion:
    """Deletes old segments of one partition; use it once.

    Args:
        records: The store's records.
        folder: The evidence folder.
        partition: Which partition.
        keys: Its keys.
        archive: Where copies are; None where there are none.
        clock: The time of this machine, Unix milliseconds.
    """

    def __init__(
        self,
        records: Records,
        folder: Path,
        partition: int,
        keys: Keys,
        *,
        archive: Archive | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._records = records
        self._reader = EvidenceReader(folder, partition)
        self._partition = partition
        self._keys = keys
        self._archive = archive
        self._clock = clock

    async def run(self, rule: RetentionRule, *, dry_run: bool = False) -> Deleted:
        """Delete the segments whose records are all older than the rule wants them.

        Args:
            rule: What all frameworks in force ask for together.
            dry_run: Look at everything, and delete nothing.
        """
        try:
            with self._reader:
                return await self._run(rule, dry_run=dry_run)
        except MasError as error:
            return Deleted((), error.message, error)

    async def _run(self, rule: RetentionRule, *, dry_run: bool) -> Deleted:
        if not rule.delete:
            return Deleted((), "no policy says that records are deleted")
        now = await self._records.time_ms()
        if problem := clock_problem(now, self._clock()):
            return Deleted((), problem)
        checkpoint = signed_checkpoint(self._reader, self._keys.public)
        if checkpoint is None:
            return Deleted((), "there is no checkpoint yet")
        if not 0 <= now - checkpoint.time <= MAX_SILENCE_MS:
            return Deleted(
                (), f"the newest checkpoint is of {rfc3339(checkpoint.time)}, which makes the clock doubtful"
            )
        noted = read_deleted(self._reader.path, self._partition, self._keys.public)
        segments = self._reader.segments()
        done = [item for item in segments if noted is not None and item.last <= noted.last]
        before = now - rule.archive_years * YEAR_DAYS * DAY_MS
        old, stopped = await self._old_ones(segments[len(done) : -1], before, checkpoint)
        if not dry_run:
            if old:
                self._note(old, now, rule)
            for segment in (*done, *old):
                seqs = range(segment.first, segment.last + 1)
                await self._records.drop_payload_copies(self._partition, seqs)
                self._remove(segment)
        return Deleted(tuple(item.path.name for item in (*done, *old)), stopped)

    async def _old_ones(
        self, segments: Sequence[Segment], before: int, checkpoint: Checkpoint
    ) -> tuple[list[Segment], str]:
        """The first of these, as far as all their records are old enough and gone from the store."""
        in_store = await self._first_in_store()
        old: list[Segment] = []
        for segment in segments:
            if segment.last >= in_store:
                return old, f"the records of {segment.path.name} are still in the store"
            newest = 0

            def look(records: Sequence[bytes]) -> None:
                nonlocal newest
                newest = max(newest, *(_read_moment(record).time for record in records))

            prove_records(self._reader, checkpoint, segment.first, segment.last, look)
            if newest >= before:
                return old, f"{segment.path.name} has records of {rfc3339(newest)}"
            old.append(segment)
        return old, "the newest closed segment always stays"

    async def _first_in_store(self) -> int:
        async for block in self._records.audit_blocks(self._partition):
            return block.last_seq - len(block.records()) + 1
        return (await self._records.audit_head(self._partition))[0] + 1

    def _note(self, segments: Sequence[Segment], now: int, rule: RetentionRule) -> None:
        """Sign that these went, and keep their hashes in the archive."""
        last = segments[-1].last
        record = self._reader.record(last) or b""
        head = TreeHead(last, self._reader.read_hash)
        text = DeletedRecords(
            f"{self._keys.public[0].name}/{self._partition}",
            last,
            sha256(record).hexdigest(),
            head.root(),
            now,
            describe_retention(rule),
        ).text()
        note = self._keys.sign(text)
        if self._archive is not None:
            for segment in segments:
                place = stored_count(segment.first - 1)
                hashes = self._reader.read_hashes(place, stored_count(segment.last) - place)
                self._archive.target.put(hashes_name(segment), io.BytesIO(hashes))
        append_durably(self._reader.path / DELETED_FILE, note + b"\n")

    def _remove(self, segment: Segment) -> None:
        if self._archive is not None:
            self._archive.copy_file(self._reader.path / DELETED_FILE)
            self._archive.target.delete(archived_name(segment))
        segment.path.unlink(missing_ok=True)
        sync_folder(self._reader.path)
