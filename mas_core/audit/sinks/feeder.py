"""Feeds the files that nothing waits for, beside the evidence: what fails is logged and made up for later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.chain import decode_record
from mas_core.audit.durable_files import sync_folder
from mas_core.audit.evidence_reader import Block, EvidenceReader
from mas_core.audit.evidence_writer import ClosedSegment
from mas_core.audit.sinks.daily_files import DailyFiles
from mas_core.audit.sinks.lines_file import make_folder
from mas_core.audit.sinks.record_file import RecordFile, file_of
from mas_core.base.logs import get_logger
from mas_core.errors import MasError, SinkBehind
from mas_core.settings.gateway_settings import AuditSettings
from mas_core.settings.private_files import read_private, write_private

log = get_logger(__name__)

_PLACES: Final = ".fed.json"
MADE_UP_AT_ONCE: Final = 16_384
"""Records that are made up for at a time, so that signing does not wait for long; the rest comes with the next."""


class SinkFeeder:
    """Takes what the notary has written, and hands it on to files and daily files.

    Args:
        settings: Which files there are.
        evidence: The evidence folder, from which a file that fell behind is made up for.
        partitions: How many partitions the system has.
    """

    def __init__(self, settings: AuditSettings, evidence: Path, partitions: int) -> None:
        self._evidence = evidence
        self._files = {
            partition: [
                RecordFile(file_of(path, partition, partitions), settings.max_file_bytes)
                for path in (settings.files if settings.require == "none" else [])
            ]
            for partition in range(partitions)
        }
        self._daily = DailyFiles(settings.daily) if settings.daily is not None else None
        self._keep_days = settings.daily_keep_days
        self._cleaned = ""
        self._places = self._read_places()
        self._failing: set[str] = set()

    def take(self, partition: int, records: Sequence[bytes]) -> None:
        """Hand records on; never fails."""
        if not records:
            return
        for file in self._files.get(partition, ()):
            self._guarded(str(file.path), self._feed_file, file, partition, records)
        if self._daily is not None:
            self._guarded(str(self._daily.folder), self._feed_daily, partition, records)

    def take_segment(self, segment: ClosedSegment) -> None:
        """Nothing: files go on by themselves."""

    def _guarded(self, name: str, feed: object, *arguments: object) -> None:
        try:
            feed(*arguments)  # type: ignore[operator]
        except (MasError, OSError) as error:
            if name not in self._failing:
                log.error("sink.unavailable", path=name, reason=str(error), effect="made up for later")
            self._failing.add(name)
        else:
            if name in self._failing:
                self._failing.discard(name)
                log.warning("sink.available", path=name)

    def _feed_file(self, file: RecordFile, partition: int, records: Sequence[bytes]) -> None:
        try:
            file.append(records)
        except SinkBehind as behind:
            with EvidenceReader(self._evidence, partition) as reader:
                for block in _some(reader, int(str(behind.details["last_seq"])) + 1):
                    file.append(block.records)

    def _feed_daily(self, partition: int, records: Sequence[bytes]) -> None:
        daily = self._daily
        if daily is None:
            return
        first, last = decode_record(records[0]).seq, decode_record(records[-1]).seq
        fed = self._places.get(str(partition), first - 1)
        if first > fed + 1:
            with EvidenceReader(self._evidence, partition) as reader:
                for block in _some(reader, fed + 1, first - 1):
                    daily.add_records(partition, block.records)
                    fed = block.first + len(block.records) - 1
        if fed + 1 >= first:
            daily.add_records(partition, records[fed + 1 - first :])
            fed = max(fed, last)
        self._places[str(partition)] = fed
        self._write_places()
        self._clean(decode_record(records[-1]).time)

    def _clean(self, time: int) -> None:
        """Once a day; counted from the records' own time or ours, whichever is earlier, so no jump deletes."""
        today = min(datetime.fromtimestamp(time / 1000, UTC).date(), datetime.now(UTC).date())
        if self._keep_days and self._daily is not None and self._cleaned != today.isoformat():
            self._cleaned = today.isoformat()
            removed = self._daily.clean(self._keep_days, today)
            if removed:
                log.info("sink.cleaned", files=len(removed))

    def _read_places(self) -> dict[str, int]:
        if self._daily is None:
            return {}
        path = self._daily.folder / _PLACES
        try:
            return msgspec.json.decode(read_private(path), type=dict[str, int]) if path.exists() else {}
        except (MasError, msgspec.DecodeError) as error:
            log.warning(
                "sink.place_unknown", path=str(path), reason=str(error), effect="starts with what comes"
            )
            return {}

    def _write_places(self) -> None:
        if self._daily is not None:
            make_folder(self._daily.folder)
            write_private(self._daily.folder / _PLACES, msgspec.json.encode(self._places))
            sync_folder(self._daily.folder)


def followers_of(settings: AuditSettings, evidence: Path, partitions: int) -> list[SinkFeeder]:
    """What a notary feeds by these settings; empty when no file is set."""
    is_set = settings.daily is not None or (settings.files and settings.require == "none")
    return [SinkFeeder(settings, evidence, partitions)] if is_set else []


def _some(reader: EvidenceReader, first: int, last: int | None = None) -> Iterator[Block]:
    count = 0
    for block in reader.blocks(first, last):
        yield block
        count += len(block.records)
        if count >= MADE_UP_AT_ONCE:
            return
