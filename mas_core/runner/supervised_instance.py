"""One supervised instance: its process, its restarts, and what is known of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mas_core.base.backoff import exponential_delays
from mas_core.runner.launch import RETIRE, Launch, Report
from mas_core.runner.log_files import open_log
from mas_core.settings.agent_spec import RestartPolicy

STEADY_SECONDS = 30.0
"""An instance that ran this long begins with the shortest delay again."""

SETTLING_RESTARTS = 2
"""After so many attempts nobody waits any longer for it to get ready."""

EventKind = Literal[
    "started", "ready", "exited", "restarting", "gave_up", "stopped", "scaled", "reloaded", "problem"
]
State = Literal["starting", "ready", "waiting", "draining", "stopped", "gave_up"]


@dataclass(frozen=True)
class AgentEvent:
    """Something that happened to an instance, or to the project when `agent_id` is empty."""

    kind: EventKind
    agent_id: str = ""
    number: int = 0
    message: str = ""
    pid: int = 0
    exit_code: int | None = None
    """Negative for a signal."""
    delay_s: float = 0.0
    """Seconds until the next attempt."""
    hint: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstanceInfo:
    """What is known of an instance now."""

    agent_id: str
    number: int
    state: State
    pid: int
    restarts: int
    log: str
    message: str
    """Why it is in this state, where that is not obvious."""


class SupervisedInstance:
    """Keeps one instance running by its restart policy.

    Args:
        launch: Makes the launch for a status descriptor.
        agent_id: Whose instance it is.
        number: Which one, from 1.
        restart: What happens when it ends by itself.
        log_path: Gets its output.
        environ: Environment of its process.
        on_event: Gets what happens.
    """

    def __init__(
        self,
        launch: Callable[[int], Launch],
        agent_id: str,
        number: int,
        *,
        restart: RestartPolicy,
        log_path: Path,
        environ: Mapping[str, str],
        on_event: Callable[[AgentEvent], None],
    ) -> None:
        self.agent_id, self.number = agent_id, number
        self.log_path = log_path
        self.files: frozenset[str] = frozenset()
        """Files of the project that it has imported."""
        self.settled = asyncio.Event()
        """Set once it is ready, is given up, or has failed a few times."""
        self._launch = launch
        self._restart = restart
        self._environ = dict(environ)
        self._on_event = on_event
        self._state: State = "starting"
        self._message = ""
        self._restarts = 0
        self._was_ready = False
        """Whether its token was good before: when it is refused then, it was rotated and the file has another."""
        self._failure: Report | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def info(self) -> InstanceInfo:
        """What is known of it now."""
        pid = self._process.pid if self._process and self._process.returncode is None else 0
        return InstanceInfo(
            self.agent_id, self.number, self._state, pid, self._restarts, str(self.log_path), self._message
        )

    def start(self) -> None:
        """Begin; what happens is told by events."""
        self._running = asyncio.create_task(self._keep_running(), name=f"{self.agent_id}-{self.number}")

    async def stop(self, drain_s: float) -> bool:
        """Let it drain for at most `drain_s` seconds, then end it; whether it ended in time."""
        self._stopping.set()
        drained = True
        if self._process and self._process.returncode is None:
            self._state = "draining"
            self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), drain_s)
            except TimeoutError:
                drained = False
                self._signal(signal.SIGKILL)
        if (running := self._running) is not None:
            # waiting must not end the task when it is cancelled itself
            await asyncio.wait([running])
            running.result()
            self._running = None
        return drained

    async def retire(self) -> None:
        """End it once it has finished what it has in hand, however long that takes; `stop` ends it sooner."""
        self._stopping.set()
        if self._process and self._process.returncode is None:
            stdin = self._process.stdin
            if self._state == "ready" and stdin is not None:
                stdin.write(RETIRE)
            else:
                self._signal(signal.SIGTERM)
            self._state = "draining"
        if (running := self._running) is not None:
            await asyncio.wait([running])

    def kill(self) -> None:
        """End it at once, with all that it started."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """SIGKILL goes to all that the instance started; other signals are the agent's business."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    os.killpg(self._process.pid, number)
                else:
                    self._process.send_signal(number)

    async def _keep_running(self) -> None:
        delays = self._delays()
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                break
            if time.monotonic() - began > STEADY_SECONDS:
                delays = self._delays()
            self._tell("exited", self._reason(code), exit_code=code)
            if not self._comes_back(code):
                self._state = "gave_up" if code else "stopped"
                self.settled.set()
                self._tell("gave_up" if code else "stopped", self._reason(code), exit_code=code)
                return
            self._state = "waiting"
            delay = next(delays)
            self._restarts += 1
            if self._restarts >= SETTLING_RESTARTS:
                self.settled.set()
            self._tell("restarting", self._reason(code), exit_code=code, delay_s=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
        self._state = "stopped"
        self._message = ""
        self.settled.set()
        self._tell("stopped")

    def _delays(self) -> Iterator[float]:
        return exponential_delays(self._restart.base, self._restart.maximum)

    def _comes_back(self, code: int) -> bool:
        if self._failure and not self._failure.retryable:
            awaits_token = self._failure.wants_token and self._was_ready
            if not awaits_token:
                return False
        return self._restart.policy == "always" or (self._restart.policy == "on-failure" and code != 0)

    def _reason(self, code: int) -> str:
        if self._failure:
            return self._failure.message
        if code < 0:
            return f"ended by signal {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    async def _run_once(self) -> int:
        """Run the process until it ends; its exit code."""
        self._state, self._failure, self._message = "starting", None, ""
        reading, writing = os.pipe()
        log = open_log(self.log_path)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mas_core.runner.instance_process"),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environ,
                pass_fds=(writing,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(reading)
            self._message = f"cannot be started: {error.strerror}"
            return 1
        finally:
            os.close(writing)
            os.close(log)
        self._tell("started")
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        reports = asyncio.create_task(self._read_reports(reading))
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - made with a pipe
        with contextlib.suppress(ConnectionError):
            stdin.write(msgspec.json.encode(self._launch(writing)) + b"\n")
            await stdin.drain()
        code = await self._process.wait()
        stdin.close()
        await reports
        return code

    async def _read_reports(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1_000_000)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        try:
            async for line in reader:
                with contextlib.suppress(msgspec.MsgspecError):
                    self._take(msgspec.json.decode(line, type=Report))
        finally:
            transport.close()

    def _take(self, report: Report) -> None:
        if report.kind == "ready":
            self.files = frozenset(report.files)
            self._was_ready = True
            if self._state == "starting":
                self._state = "ready"
            self.settled.set()
            self._tell("ready")
        else:
            self._failure = report

    def _tell(
        self, kind: EventKind, message: str = "", *, exit_code: int | None = None, delay_s: float = 0.0
    ) -> None:
        self._message = message or self._message
        pid = self._process.pid if self._process else 0
        hint = tuple(self._failure.hint) if self._failure else ()
        self._on_event(AgentEvent(kind, self.agent_id, self.number, message, pid, exit_code, delay_s, hint))
