"""The gateway or the notary of a project as a supervised process: it is started again when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence

from mas_core.base.backoff import exponential_delays
from mas_core.base.stop_signals import UNTIL_INPUT_ENDS
from mas_core.runner.log_files import open_log
from mas_core.settings.project import Project

END_SECONDS = 10.0
STEADY_SECONDS = 10.0

_OTHER_SYSTEMS = frozenset({"MAS_URL", "MAS_CONTEXT", "REDIS_URL"})


class ServiceProcess:
    """Keeps one process of our own running.

    Args:
        module: The program, such as `mas_core.gateway`.
        log_name: Where in the folder of logs it writes.
        project: Its running context says where the server is.
        arguments: What it is started with.
        on_exit: Called with the exit code when it died and is about to be started again.
        on_restart: Called with the new process id.
    """

    def __init__(
        self,
        module: str,
        log_name: str,
        project: Project,
        arguments: Sequence[str] = (),
        on_exit: Callable[[int], None] = lambda _code: None,
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

    @property
    def pid(self) -> int:
        """Id of the process; 0 while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else 0

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
        log = open_log(self._project.logs_dir / self._log_name)
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
            self._on_exit(code)
            if loop.time() - started > STEADY_SECONDS:
                delays = exponential_delays(base=0.1, maximum=1.0)
            await asyncio.sleep(next(delays))
            await self._launch()
            self._on_restart(self.pid)
