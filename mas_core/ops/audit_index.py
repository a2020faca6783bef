"""Making the index of the evidence folder again."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mas_core.audit.index import GROUP_RECORDS, Index, remove_index
from mas_core.audit.process import EVIDENCE_NAME
from mas_core.audit.record_files import RecordFiles, Warn
from mas_core.audit.search import index_group, missing_groups
from mas_core.errors import LockHeld
from mas_core.ops.audit_sources import log_warning
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep the notary away."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(folder / "notary.lock", flags, 0o600), "r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(
                "the notary is running, and keeps the index by itself",
                hint=("mas audit list --scan", "mas down"),
            ) from None
        yield


class Rebuilt(NamedTuple):
    """The new index of one partition."""

    partition: int
    records: int
    """Records in the folder."""
    indexed: int
    """Those that the index covers; the newest are found without it."""


def rebuild(project: Project, warn: Warn = log_warning) -> list[Rebuilt]:
    """Throw the indexes of an evidence folder away and make them again from the records.

    Args:
        project: Whose evidence folder.
        warn: Told in words what cannot be read.

    Returns:
        What was made; nothing without an evidence folder.

    Raises:
        LockHeld: The notary keeps it.
    """
    settings = load_config(project).config.gateway.audit
    folder = settings.folder or project.data_dir / EVIDENCE_NAME
    if not folder.is_dir():
        return []
    made = []
    with _alone(folder):
        for partition in sorted(
            int(path.name[1:]) for path in folder.glob("p*") if path.name[1:].isdecimal()
        ):
            place = folder / f"p{partition}"
            if place.is_dir():
                remove_index(place)
                files = RecordFiles(folder, partition, warn)
                with Index(place) as index:
                    for group in missing_groups(files, index):
                        index_group(files, group, index)
                    indexed = len(index.groups()) * GROUP_RECORDS
                made.append(Rebuilt(partition, files.size, indexed))
    return made
