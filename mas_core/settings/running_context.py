"""What a running `mas up` leaves for the other commands: where its server is and how to get in.

A lock on a file tells whether it runs: the kernel frees it with the process, however that ended, and a
process id that another program has got since then means nothing.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from mas_core.errors import ConfigurationError, LockHeld, SecretUnavailable
from mas_core.settings.private_files import read_private, write_private
from mas_core.settings.project import Project

_FILE = "context.json"
_LOCK = "lock"
_CLAIM_SECONDS = 0.3
"""Those who only look hold the lock for a moment; a claim waits this long for them."""


class RunningContext(msgspec.Struct, frozen=True, kw_only=True):
    """A running system of a project; the file is private, since the URL holds a password."""

    url: str
    namespace: str = "mas"
    partitions: int = 1
    profile: str = "durable"
    pid: int
    """The `mas up` that runs it."""
    started: int
    """Unix milliseconds."""
    embedded: bool = True
    """Whether the server ends with it."""
    agents_url: str = ""
    """Where agents find the server that stands before it, grpcs://HOST:PORT; empty where there is none."""
    secure: bool = False
    """Whether agents go through it unless their specs say otherwise, with certificates that are made for them."""


@contextmanager
def claimed(project: Project) -> Iterator[None]:
    """Be the one process that runs the project.

    Raises:
        LockHeld: Another one is.
    """
    path = project.run_dir / _LOCK
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}", path=str(path)) from error
    try:
        if not _locks(lock, fcntl.LOCK_EX, _CLAIM_SECONDS):
            owner = _pid_in(lock)
            raise LockHeld(
                f"the project runs already, under process {owner}",
                hint=("mas status", "mas down"),
                owner=owner,
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def running_pid(project: Project) -> int:
    """The process that runs the project or is about to; 0 when there is none."""
    try:
        lock = os.open(
            project.root / ".mas" / "run" / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return 0
    try:
        return 0 if _locks(lock, fcntl.LOCK_SH) else _pid_in(lock)
    finally:
        os.close(lock)


def write_running(project: Project, context: RunningContext) -> None:
    """Let other commands find the running system."""
    write_private(project.run_dir / _FILE, msgspec.json.encode(context))


def read_running(project: Project) -> RunningContext | None:
    """The running system of the project; None when nothing runs or what ran was killed."""
    context = _read(project)
    return context if context and context.pid == running_pid(project) else None


def remove_running(project: Project, pid: int) -> None:
    """Take back what the process `pid` wrote; what another one wrote stays."""
    context = _read(project)
    if context and context.pid == pid:
        (project.root / ".mas" / "run" / _FILE).unlink(missing_ok=True)


def _read(project: Project) -> RunningContext | None:
    with suppress(SecretUnavailable, msgspec.MsgspecError):
        content = read_private(project.root / ".mas" / "run" / _FILE)
        return msgspec.json.decode(content, type=RunningContext)
    return None


def _locks(lock: int, kind: int, seconds: float = 0.0) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _pid_in(lock: int) -> int:
    try:
        return int(os.pread(lock, 32, 0))
    except (OSError, ValueError):
        return 0
