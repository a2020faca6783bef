"""The folder that keeps the settings of a user: `mas` in the XDG configuration home."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def user_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where contexts and the user's config.yaml are; it need not exist."""
    home = environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".config"
    return base / "mas"
