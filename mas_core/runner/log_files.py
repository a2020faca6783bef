"""Log files that processes append to directly, kept small by whoever started them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MAX_BYTES = 5_000_000
KEPT = 3


def open_log(path: Path) -> int:
    """A descriptor that appends to the private file at `path`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def rotate_if_large(path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> bool:
    """Move what the log holds to `<name>.1` and begin anew, when it is larger than `max_bytes`.

    The processes keep their descriptors, so the content is copied and the file emptied; a line written
    in between can be lost.

    Args:
        path: The log.
        max_bytes: How large it may be.
        kept: How many older parts are kept.

    Returns:
        Whether it was rotated.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(kept - 1, 0, -1):
        older = Path(f"{path}.{number}")
        if older.exists():
            older.replace(f"{path}.{number + 1}")
    first = Path(f"{path}.1")
    descriptor = os.open(first, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with path.open("rb") as source, os.fdopen(descriptor, "wb") as copy:
        shutil.copyfileobj(source, copy)
    os.truncate(path, 0)
    return True
