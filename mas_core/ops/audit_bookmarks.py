"""Bookmarks: where the last export of a name ended, for the next one to go on from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from mas_core.errors import ConfigurationError, UsageError
from mas_core.ops.audit_exports import Position
from mas_core.ops.system import System
from mas_core.settings.private_files import private_dir, read_private, write_private

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class _Bookmark(msgspec.Struct):
    log: str
    positions: dict[int, Position]


_read = msgspec.json.Decoder(_Bookmark).decode


def bookmark_path(system: System, name: str) -> Path:
    """Where a bookmark is kept.

    Raises:
        UsageError: No bookmark can have this name, or there is no folder for it.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a bookmark",
            hint="up to 64 letters, digits, '_', '.', '-'; a letter or digit first",
        )
    if system.target.keys_dir is None:
        raise UsageError(
            "bookmarks are kept in the project, and this system has none here", hint="--since TIME"
        )
    return system.target.keys_dir.parent / "bookmarks" / f"{name}.json"


def read_bookmark(system: System, name: str) -> dict[int, Position] | None:
    """Partition -> the last record that was exported; None when there is no such bookmark yet.

    Raises:
        UsageError: As `bookmark_path`.
        ConfigurationError: It cannot be used, or is one of another log.
    """
    path = bookmark_path(system, name)
    if not path.exists():
        return None
    try:
        found = _read(read_private(path))
    except ValueError as error:
        raise ConfigurationError(f"the bookmark {path} cannot be read", hint=f"rm {path}") from error
    if found.log != _log(system):
        raise ConfigurationError(
            f"the bookmark {name} is of the log {found.log}, not of {_log(system)}", hint=f"rm {path}"
        )
    return found.positions


def keep_bookmark(system: System, name: str, positions: Mapping[int, Position]) -> Path:
    """Keep where an export ended.

    Raises:
        UsageError, ConfigurationError: As `read_bookmark`.
    """
    path = bookmark_path(system, name)
    private_dir(path.parent)
    return write_private(path, msgspec.json.encode(_Bookmark(_log(system), dict(positions))))


def _log(system: System) -> str:
    return f"{system.store.namespace}/{system.store.partitions}"
