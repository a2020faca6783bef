"""The gateway, server or notary of a project as a supervised process: it is started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from mas_core.base.backoff import exponential_delays
from mas_core.base.stop_signals import UNTIL_INPUT_ENDS
from mas_core.runner.log_files import open_log
from mas_core.settings.masking import without_secrets
from mas_core.settings.project import Project

END_SECONDS = 10.0
STEADY_SECONDS = 10.0

_OTHER_SYSTEMS = frozenset({"MAS_URL", "MAS_CONTEXT", "REDIS_URL"})

_LAST_BYTES: Final = 64 * 1024
"""Of a log: more is not read to find out why a process ended."""


class Failure(msgspec.Struct, frozen=True):
    """Why a process ended, as its log says."""

    reason: str
    code: str = ""
    """Of the error; empty for one that nobody expected."""
    hint: tuple[str, ...] = ()


class ServiceProcess:
    """Keeps one process of our own running.

    Args:
        module: The program, such as `mas_core.gateway`.
        log_name: Where in the folder of logs it writes.
        project: Its running context says where the server is.
        arguments: What it is started with.
        on_exit: Called with the exit code, and with the reason where its log has one, when it died and is about to
            be started again.
        on_restart: Called with the new process id.
    """

    def __init__(
        self,
        module: str,
        log_name: str,
        project: Project,
        arguments: Sequence[str] = (),
        on_exit: Callable[[int, Failure | None], None] = lambda _code, _failure: None,
        on_restart: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        self._module = module
        self._log_name = log_name
        self._project = project
        self._arguments = tuple(arguments)
        self._on_exit = on_exit
        self._on_restart = on_restart
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._log_begins = 0
        self.failure: Failure | None = None
        """Why it died the last time."""

    @property
    def pid(self) -> int:
        """Id of the process; 0 while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    @property
    def _log_path(self) -> Path:
        return self._project.logs_dir / self._log_name

    async def start(self) -> None:
        """Start it; whether it does its work is seen in the store."""
        await self._launch()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Let it drain and end."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _launch(self) -> None:
        log = open_log(self._log_path)
        self._log_begins = os.fstat(log).st_size
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                UNTIL_INPUT_ENDS,
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._project.root,
                env=self._environ(),
                start_new_session=True,
            )
        finally:
            os.close(log)

    def _environ(self) -> dict[str, str]:
        """Our environment without what could lead it to another system than the project's running one."""
        kept = {name: value for name, value in os.environ.items() if name not in _OTHER_SYSTEMS}
        return {**kept, "MAS_CONFIG_FILE": str(self._project.config_path)}

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        delays = exponential_delays(base=0.1, maximum=1.0)
        while self._process is not None:
            started = loop.time()
            code = await self._process.wait()
            self.failure = failure_in(self._log_path, self._log_begins)
            self._on_exit(code, self.failure)
            if loop.time() - started > STEADY_SECONDS:
                delays = exponential_delays(base=0.1, maximum=1.0)
            await asyncio.sleep(next(delays))
            await self._launch()
            self._on_restart(self.pid)


def failure_in(path: Path, begin: int) -> Failure | None:
    """Why a process ended that wrote to the log at `path` from byte `begin` on; None where it does not say."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log that was rotated begins anew.
            file.seek(max(begin if begin <= size else 0, size - _LAST_BYTES))
            lines = file.read(_LAST_BYTES).splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        with contextlib.suppress(msgspec.MsgspecError):
            found = msgspec.json.decode(line, type=Failure)
            if found.code:
                return found
    last = next((text for line in reversed(lines) if (text := line.decode(errors="replace").strip())), "")
    # The last line of a traceback.
    return Failure(without_secrets(last)[:500]) if last and not last.startswith("{") else None
