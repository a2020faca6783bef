"""The server under test: configured as the embedded one, but killed, cut and started again by the harness."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from mas_core.settings.private_files import private_dir
from mas_core.store.embedded_server import EmbeddedServer, _password
from mas_core.store.server_program import find_server_program


def _end_with_parent() -> None:
    """Leave no server behind when the harness itself is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Server:
    """One server process over one data folder.

    Args:
        folder: Its data, socket and log.
        profile: As of the embedded server: fast flushes each second, durable before every answer.
        environ: Variables for its process, such as what to preload.
        options: Lines of its configuration that replace ours, or are added.
    """

    def __init__(
        self,
        folder: Path,
        *,
        profile: str = "durable",
        environ: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = private_dir(folder)
        self.data = folder / "data"
        self._embedded = EmbeddedServer(self.data, folder / "run", folder / "keys", profile=profile)
        self._environ = {**os.environ, **(environ or {})}
        self._options = dict(options or {})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Its URL, with its password."""
        return self._embedded.url

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        return self._embedded.socket_path

    @property
    def pid(self) -> int:
        """Its process; 0 when none runs."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    async def start(self) -> None:
        """Start it; returns when it answers with its data loaded.

        Raises:
            RuntimeError: It ends at once.
        """
        for folder in (self.data, self._embedded.run_dir, self.socket_path.parent):
            private_dir(folder)
        self._embedded._password = _password(self._embedded.keys_dir)
        self._embedded._take_users()
        binary = await find_server_program()
        text = self._embedded._configuration()
        text += "".join(f"{name} {value}\n" for name, value in self._options.items())
        configuration = self.folder / "server.conf"
        configuration.write_text(text)
        self.socket_path.unlink(missing_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(binary), str(configuration), cwd=self.data, env=self._environ,
                start_new_session=True, preexec_fn=_end_with_parent, stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip
        while await self._embedded._answers() != b"+PONG":
            if self._process.returncode is not None:
                raise RuntimeError(f"the server ended: {(self.folder / 'server.log').read_text()[-2000:]}")
            await asyncio.sleep(0.005)

    async def kill(self) -> None:
        """End it as by `kill -9`."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.pid:
            os.kill(self.pid, number)

    async def stop(self) -> None:
        """End it in order."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self._process is not None:
            await self._process.wait()
