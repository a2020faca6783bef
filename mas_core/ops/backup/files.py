"""Files of backups as a person meets them: which there are, and what each says of itself."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mas_core.errors import MasError, NotFound, SecretUnavailable
from mas_core.ops.backup.backup_file import BackupReader
from mas_core.ops.backup.contents import Manifest
from mas_core.ops.backup.create import FOLDER, SUFFIX
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.project import Project

MAX_LISTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """One file among backups."""

    path: Path
    size: int
    """Bytes."""
    manifest: Manifest | None
    """None when it cannot be used."""
    problem: str = ""
    is_checked: bool = False
    """Whether it carries the MAC of the gateway's key that is at hand."""


def list_backups(folder: Path, keys_dir: Path | None = None) -> list[BackupInfo]:
    """The backups in a folder, the newest first; only their manifests are looked at.

    Args:
        folder: Where they are.
        keys_dir: The folder of the gateway's key, which says whether a backup is this system's. Where there is
            none the word of the file is taken.
    """
    keys = None
    with contextlib.suppress(SecretUnavailable):
        keys = GatewayKeys.load(keys_dir) if keys_dir is not None else None
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))
    found = [_info(path, keys) for path in paths[:MAX_LISTED]]
    return sorted(found, key=lambda item: item.manifest.begun if item.manifest else 0, reverse=True)


def find_backup(name: str, project: Project | None) -> Path:
    """The backup that somebody means: a path, or the name of one among the project's.

    Raises:
        NotFound: There is none.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    if project is not None and "/" not in name and (kept := project.data_dir / FOLDER / name).exists():
        return kept
    raise NotFound(f"there is no backup {name}", hint="mas backup list", path=name)


def _info(path: Path, keys: GatewayKeys | None) -> BackupInfo:
    try:
        with BackupReader(path) as reader:
            manifest = reader.claimed if keys is None else reader.manifest(keys, keys.key_id)
            return BackupInfo(path, reader.size, manifest, is_checked=keys is not None)
    except MasError as error:
        return BackupInfo(path, path.stat().st_size if path.exists() else 0, None, error.message)
