"""Text that a person changes in an editor of their own."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from mas_cli.output.streams import can_ask
from mas_core.errors import ConfigurationError

USUAL_EDITOR = "vi"


def can_edit() -> bool:
    """Whether a person sits at this terminal."""
    return can_ask()


def edited(text: str, prefix: str, suffix: str) -> str:
    """What a person makes of `text`, in a private file that is gone afterwards.

    Raises:
        ConfigurationError: The editor cannot be run, or has failed.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or USUAL_EDITOR
    descriptor, name = tempfile.mkstemp(suffix, prefix)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        try:
            ended = subprocess.run([*shlex.split(editor), name], check=False)  # noqa: S603 - the user's own choice
        except OSError as error:
            raise ConfigurationError(
                f"the editor {editor!r} cannot be run: {error.strerror}", hint="export EDITOR=nano"
            ) from None
        if ended.returncode:
            raise ConfigurationError(
                f"the editor {editor!r} ended with {ended.returncode}; nothing was changed"
            )
        return path.read_text(encoding="utf-8")
    finally:
        path.unlink(missing_ok=True)
