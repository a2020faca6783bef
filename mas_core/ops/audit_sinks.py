"""The files beside the audit: what there is, how far they got, how large they are, and which days go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mas_core.audit.sinks.daily_files import DailyFiles, DayFile
from mas_core.audit.sinks.record_file import RecordFile, file_of
from mas_core.errors import ConfigurationError, MasError
from mas_core.settings.gateway_settings import AuditSettings
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config

__all__ = ["DayFile", "SinkStatus", "clean", "list_sinks", "statistics"]


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """One configured file or folder."""

    kind: str
    """records or daily."""
    path: Path
    required: bool
    last_seq: int | None
    """Number of the last record in it; None where there is none, or it cannot be read."""
    files: int
    bytes: int
    problem: str = ""


def list_sinks(project: Project) -> list[SinkStatus]:
    """Every file and folder that the settings name, and how far it got."""
    config = load_config(project).config
    audit = config.gateway.audit
    found = [
        _record_file(file_of(path, partition, config.partitions), audit)
        for path in audit.files
        for partition in range(config.partitions)
    ]
    if audit.daily is not None:
        paths = [path for _, _, path in DailyFiles(audit.daily).files()]
        size = sum(path.stat().st_size for path in paths)
        found.append(SinkStatus("daily", audit.daily, False, None, len(paths), size))
    return found


def statistics(project: Project) -> Iterator[DayFile]:
    """Every daily file with the number of its entries, oldest day first.

    Raises:
        ConfigurationError: There is no folder of daily files.
    """
    return _daily(project).statistics()


def clean(project: Project, keep_days: int | None = None, *, dry_run: bool = False) -> list[Path]:
    """Remove daily files that are older than so many days, today among them, by this machine's clock in UTC.

    Args:
        project: Whose files.
        keep_days: How many days stay; what the settings say when left out.
        dry_run: Remove nothing.

    Returns:
        The files that were removed, or would be.

    Raises:
        ConfigurationError: There is no folder of daily files, or nothing says how many days stay.
        UsageError: Today would not stay.
    """
    days = keep_days if keep_days is not None else _settings(project).daily_keep_days
    if keep_days is None and not days:
        raise ConfigurationError(
            "nothing says how many days stay", hint=("--keep-days 30", "gateway.audit.daily_keep_days")
        )
    return _daily(project).clean(days, datetime.now(UTC).date(), dry_run=dry_run)


def _record_file(path: Path, audit: AuditSettings) -> SinkStatus:
    required = audit.require != "none"
    last_seq, problem = None, ""
    try:
        last_seq = RecordFile(path, audit.max_file_bytes).last_seq() or None
    except MasError as error:
        problem = error.message
    paths = [item for item in path.parent.glob(f"{path.stem}*{path.suffix}") if item.is_file()]
    return SinkStatus(
        "records", path, required, last_seq, len(paths), sum(item.stat().st_size for item in paths), problem
    )


def _settings(project: Project) -> AuditSettings:
    return load_config(project).config.gateway.audit


def _daily(project: Project) -> DailyFiles:
    folder = _settings(project).daily
    if folder is None:
        raise ConfigurationError(
            "no folder of daily files is set", hint="gateway: {audit: {daily: logs}} in mas.yaml"
        )
    return DailyFiles(folder)
