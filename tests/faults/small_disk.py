"""A disk of a given size in memory, which can be enlarged; needs root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Self


def why_not() -> str:
    """Why there can be no such disks here; empty where there can."""
    if os.geteuid() != 0:
        return "small disks need root"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "mounts are not permitted here"


class SmallDisk:
    """A folder on a disk of its own; use it as a context manager."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._size = size

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size},mode=700", "none", str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", str(self.folder))

    def enlarge(self, size: int) -> None:
        """Let it have so many bytes."""
        _run("mount", "-o", f"remount,size={size}", str(self.folder))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
