"""What a running `mas up` leaves for the other commands: where its server is and how to get in."""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec

from mas_core.errors import SecretUnavailable
from mas_core.settings.private_files import read_private, write_private
from mas_core.settings.project import Project

_FILE = "context.json"


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

    @property
    def is_alive(self) -> bool:
        """Whether the process that wrote it still runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def write_running(project: Project, context: RunningContext) -> None:
    """Let other commands find the running system."""
    write_private(project.run_dir / _FILE, msgspec.json.encode(context))


def read_running(project: Project) -> RunningContext | None:
    """The running system of the project; None when nothing runs or what ran was killed."""
    path = project.root / ".mas" / "run" / _FILE
    try:
        context = msgspec.json.decode(read_private(path), type=RunningContext)
    except (SecretUnavailable, msgspec.MsgspecError):
        return None
    return context if context.pid > 0 and context.is_alive else None


def remove_running(project: Project, pid: int) -> None:
    """Take back what the process `pid` wrote; what another one wrote stays."""
    path = project.root / ".mas" / "run" / _FILE
    with suppress(SecretUnavailable, msgspec.MsgspecError):
        if msgspec.json.decode(read_private(path), type=RunningContext).pid == pid:
            path.unlink(missing_ok=True)
