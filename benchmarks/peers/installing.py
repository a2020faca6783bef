"""Puts peers where they can run: an environment for each, and the NATS server from the system's packages."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from benchmarks.processes import ROOT

REQUIREMENTS = Path(__file__).parent / "requirements"
ENVIRONMENTS = ROOT / ".venv-peers"
INSTALL_SECONDS = 600.0
PACKAGES = tuple(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))


class NotInstalled(Exception):
    """A peer cannot be run here; the message says why."""


async def python_of(package: str) -> Path:
    """The Python that has a peer, installed now if it is not there or its requirements changed.

    Raises:
        NotInstalled: It cannot be.
    """
    folder = ENVIRONMENTS / package
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = (REQUIREMENTS / f"{package}.txt").read_text()
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        await _run(sys.executable, "-m", "venv", "--clear", str(folder))
        await _run(
            *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--requirement", str(REQUIREMENTS / f"{package}.txt")),
        )
        stamp.write_text(wanted)
    return python


async def nats_server() -> str:
    """The program of the NATS server.

    Raises:
        NotInstalled: It is not there and cannot be installed from here.
    """
    found = _nats_program()
    if found is None and shutil.which("apt-get"):
        as_root = () if os.geteuid() == 0 else ("sudo", "-n")
        await _run(*as_root, "apt-get", "install", "--yes", "--quiet", "nats-server")
        found = _nats_program()
    if found is None:
        raise NotInstalled("there is no nats-server; on Debian and Ubuntu: sudo apt-get install nats-server")
    return found


def _nats_program() -> str | None:
    return shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


async def _run(*command: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise NotInstalled(f"{command[0]}: {error.strerror}") from None
    try:
        _, errors = await asyncio.wait_for(process.communicate(), INSTALL_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NotInstalled(f"{' '.join(command[:4])} took longer than {INSTALL_SECONDS:g} s") from None
    if process.returncode:
        lines = [line for line in errors.decode(errors="replace").splitlines() if "error" in line.lower()]
        raise NotInstalled(f"{' '.join(command[:4])} failed: {lines[-1] if lines else 'no reason given'}")
