"""A PostgreSQL server for tests, where one is installed; on a socket of its own, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SYSTEM_USER = "postgres"


def postgres_programs() -> Path | None:
    """The folder of the newest server that is installed and may be started by whoever runs the tests."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        return None
    if os.getuid() == 0:
        # It refuses to be run by root.
        try:
            pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            return None
    return found[-1].parent if found else Path(str(on_path)).parent


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of an empty database."""
    programs = postgres_programs()
    assert programs is not None
    user = SYSTEM_USER if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user:
        shutil.chown(folder, user)
    try:
        data, name = folder / "data", user or pwd.getpwuid(os.getuid()).pw_name
        _run(programs / "initdb", "--no-sync", "-A", "trust", "-U", name, "-D", data, user=user)
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        control = (programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log")
        _run(*control, "-o", options, "start", user=user)
        try:
            yield f"postgresql+psycopg://{name}@/postgres?host={folder}"
        finally:
            _run(*control, "-m", "immediate", "stop", user=user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*words: object, user: str | None) -> None:
    subprocess.run(
        [str(word) for word in words],
        check=True,
        user=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
    )
