"""Locks between processes, each on a file that only its owner can open; one that ends gives its lock up."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mas_core.errors import ConfigurationError, MasError


@contextmanager
def file_lock(path: Path, taken: Callable[[int], MasError] | None = None) -> Iterator[int]:
    """Have the lock on the file at `path`, which is made when it is missing; gives its descriptor.

    Args:
        path: The file; a link is not followed.
        taken: Makes the error for when another process has the lock, from the descriptor; without it the lock
            is waited for.

    Raises:
        ConfigurationError: The file cannot be used.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}", path=str(path)) from error
    try:
        if taken is None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise taken(lock) from None
        yield lock
    finally:
        os.close(lock)
