"""What `mas up --secure` leaves for the next `mas up`: that agents go through a server, and where it listened."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from mas_core.errors import SecretUnavailable
from mas_core.settings.private_files import read_private, write_private
from mas_core.settings.project import Project

_FILE = "server-mode.json"


class ServerChoice(msgspec.Struct, frozen=True):
    """How the server of a project ran the last time."""

    secure: bool = False
    """Whether it was by `mas up --secure`."""
    address: str = ""
    """host:port that was found for it; empty where mas.yaml says it."""


def read_choice(project: Project) -> ServerChoice:
    """What was left; nothing where the file is missing or cannot be read."""
    with suppress(SecretUnavailable, msgspec.MsgspecError):
        return msgspec.json.decode(read_private(project.run_dir / _FILE), type=ServerChoice)
    return ServerChoice()


def keep_choice(project: Project, choice: ServerChoice) -> None:
    """Leave it for the next time."""
    if choice != read_choice(project):
        write_private(project.run_dir / _FILE, msgspec.json.encode(choice))
