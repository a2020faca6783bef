"""A folder for each day, and in it a file for each kind: `2026-11-21/message_audit_2026-11-21.jsonl`.

Days are days of UTC, by the time in the entry. Records of the audit come from the notary; agents and programs add
entries of their own with `ActivityLog`. Whoever reads these files gets at least what the audit has: after a crash
an entry may be there twice, with the same partition and number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.chain import decode_record
from mas_core.audit.sinks.lines_file import LinesFile
from mas_core.base.clock import now_ms, rfc3339
from mas_core.errors import UsageError
from mas_core.model.audit_record import AuditRecord

KINDS: Final = ("agent_activity", "message_audit", "task_history", "performance", "errors")
"""What there is a file for each day of."""

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_NAME: Final = re.compile(rf"({'|'.join(KINDS)})_(\d{{4}}-\d\d-\d\d)\.jsonl")
_ERRORS: Final = frozenset(
    {"frame", "delivery.dead", "delivery.retry", "delivery.refused", "breaker.open", "breaker.reset"}
)
_TASKS: Final = ("task.", "task_")


@dataclass(frozen=True, slots=True)
class DayFile:
    """One file of one day."""

    day: str
    kind: str
    entries: int
    bytes: int
    path: Path


class DailyFiles:
    """The folder of the days.

    Args:
        folder: Where the folders of the days are; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, kind: str, day: str, lines: Sequence[bytes]) -> None:
        """Append entries of one kind to the file of a day.

        Raises:
            OSError: The disk does not take them.
            ConfigurationError: A file is replaced again and again.
        """
        LinesFile(self.folder / day / f"{kind}_{day}.jsonl").append(lines)

    def add_records(self, partition: int, records: Sequence[bytes]) -> None:
        """Append audit records to the files that they belong in; what cannot be read counts as an error.

        Raises:
            OSError, ConfigurationError: As `write`.
        """
        wanted: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        for text in records:
            try:
                record = decode_record(text)
                day = _day_of(record.time)
            except (ValueError, OverflowError, OSError, RecursionError):
                continue
            line = b'{"partition":%d,%b' % (partition, text[1:])
            for kind in kinds_of(record):
                wanted[day, kind].append(line)
        for (day, kind), lines in wanted.items():
            self.write(kind, day, lines)

    def files(self) -> Iterator[tuple[str, str, Path]]:
        """Day, kind and path of every file, oldest day first; nothing else that lies there."""
        if not self.folder.is_dir():
            return
        for folder in sorted(self.folder.iterdir()):
            if not _DAY.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
                continue
            for path in sorted(folder.iterdir()):
                match = _NAME.fullmatch(path.name)
                if match and match[2] == folder.name and path.is_file() and not path.is_symlink():
                    yield folder.name, match[1], path

    def statistics(self) -> Iterator[DayFile]:
        """Every file with the number of its entries; reads them all, a piece at a time."""
        for day, kind, path in self.files():
            entries = 0
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    entries += chunk.count(b"\n")
            yield DayFile(day, kind, entries, path.stat().st_size, path)

    def clean(self, keep_days: int, today: date, *, dry_run: bool = False) -> list[Path]:
        """Remove the files of days that are too old, and their folders once they are empty.

        Args:
            keep_days: How many days stay, today among them.
            today: The day to count from.
            dry_run: Remove nothing.

        Returns:
            The files that were removed, or would be.

        Raises:
            UsageError: Today would not stay.
        """
        if keep_days < 1:
            raise UsageError("at least one day is kept", hint="--keep-days 30")
        oldest = (today - timedelta(days=keep_days - 1)).isoformat()
        old = [path for day, _, path in self.files() if day < oldest]
        if not dry_run:
            for path in old:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in old}:
                if not any(folder.iterdir()):
                    folder.rmdir()
        return old


class ActivityLog:
    """Entries of one's own in the daily files; several processes may write at the same time.

    Args:
        folder: The folder of the days, as in the setting `gateway.audit.daily`.
        agent_id: Whose entries, where a call does not say.
    """

    def __init__(self, folder: Path | str, agent_id: str = "") -> None:
        self._files = DailyFiles(Path(folder))
        self._agent_id = agent_id

    def activity(self, action: str, *, agent: str = "", **details: object) -> None:
        """Note what an agent does.

        Raises:
            OSError, ConfigurationError: The folder does not take it.
        """
        self._add("agent_activity", agent, action=action, details=details)

    def performance(
        self, metric: str, value: float, unit: str = "", *, agent: str = "", **details: object
    ) -> None:
        """Note a measurement.

        Raises:
            OSError, ConfigurationError: The folder does not take it.
        """
        self._add("performance", agent, metric=metric, value=value, unit=unit, details=details)

    def task(self, task_id: str, status: str, *, agent: str = "", **details: object) -> None:
        """Note what became of a task.

        Raises:
            OSError, ConfigurationError: The folder does not take it.
        """
        self._add("task_history", agent, task_id=task_id, status=status, details=details)

    def error(self, error_type: str, message: str, *, agent: str = "", **details: object) -> None:
        """Note an error.

        Raises:
            OSError, ConfigurationError: The folder does not take it.
        """
        self._add("errors", agent, error_type=error_type, message=message, details=details)

    def _add(self, kind: str, agent: str, **fields: object) -> None:
        now = now_ms()
        entry = {"time": rfc3339(now), "kind": kind, "agent": agent or self._agent_id, **fields}
        line = msgspec.json.encode({name: value for name, value in entry.items() if value not in ("", {})})
        self._files.write(kind, _day_of(now), [line])


def kinds_of(record: AuditRecord) -> list[str]:
    """The files that a record belongs in."""
    if record.kind == "message":
        is_task = record.type.startswith(_TASKS)
        return ["message_audit", "task_history"] if is_task else ["message_audit"]
    if record.kind in _ERRORS:
        return ["errors"]
    return ["message_audit" if record.message_id else "agent_activity"]


def _day_of(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).date().isoformat()
