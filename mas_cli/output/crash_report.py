"""What an unexpected error leaves behind: a private file that can be attached to a report.

It holds the traceback without the values of variables, the name of the command and the versions. Arguments
are left out and whatever looks like a secret is masked, so that nothing has to be removed by hand.
"""

from __future__ import annotations

import os
import platform
import sys
import traceback
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mas_core.settings.masking import without_secrets


def state_folder() -> Path:
    """Where this user's files about past runs go."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mas"


def write_crash_report(error: BaseException, command: str) -> Path | None:
    """Keep what is known about `error`; None when no file can be written."""
    moment = datetime.now(UTC)
    folder = state_folder() / "crashes"
    path = folder / f"{moment:%Y%m%dT%H%M%S.%f}-{os.getpid()}.txt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(report(error, command, moment))
    except OSError:
        return None
    return path


def report(error: BaseException, command: str, moment: datetime) -> str:
    """The text of a crash report."""
    return without_secrets(
        f"time     {moment:%Y-%m-%dT%H:%M:%SZ}\n"
        f"command  mas {command}\n"
        f"mas      {_version('mas')}\n"
        f"python   {platform.python_version()} on {sys.platform} {platform.machine()}\n\n"
        + "".join(traceback.format_exception(error))
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
