"""A project in the background: start it and wait until it is ready, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time

import msgspec

from mas_core.errors import AgentFailed, DeadlineExceeded, InternalError, MasError
from mas_core.ops.agent_runs import OnEvent
from mas_core.ops.run_events import RunEvent
from mas_core.ops.up import UpOptions
from mas_core.runner.log_files import open_log, rotate_if_large
from mas_core.settings.project import Project
from mas_core.settings.running_context import running_pid

DOWN_SECONDS = 60.0
GRACE_SECONDS = 5.0
"""What a background process may take on top of the time in which everything has to be ready."""


class Daemon(msgspec.Struct, frozen=True):
    """What the background process is told on its standard input."""

    config_path: str
    url: str | None
    profile: str | None
    reload: bool
    ready_within: float
    force: bool
    hardened: bool
    secure: bool
    status_fd: int


async def up_detached(project: Project, options: UpOptions, on_event: OnEvent = lambda _event: None) -> int:
    """Start the project in the background; returns its process id when everything is ready.

    Raises:
        DeadlineExceeded: It was not ready in time; it goes on starting.
        AgentFailed: It runs, but some agents do not; or it was stopped before it was ready.
        MasError: What `up` raises.
    """
    reader, writer = os.pipe()
    log_path = project.logs_dir / "up.log"
    rotate_if_large(log_path)
    log = open_log(log_path)
    try:
        # not a process of the event loop: the loop would kill it when it is closed
        process = subprocess.Popen(  # noqa: ASYNC220 - our own program; returns as soon as it is started
            [sys.executable, "-m", "mas_core.ops.up_daemon"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(writer,),
            start_new_session=True,
        )
    finally:
        os.close(log)
        os.close(writer)
    told = Daemon(
        str(project.config_path),
        options.url,
        options.profile,
        options.reload,
        options.ready_within,
        options.force,
        options.hardened,
        options.secure,
        writer,
    )
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # type: ignore[union-attr]
        stdin.write(msgspec.json.encode(told) + b"\n")
    try:
        async with asyncio.timeout(options.ready_within + GRACE_SECONDS):
            return await _until_ready(process.pid, reader, on_event)
    except DeadlineExceeded:
        raise
    except TimeoutError:
        raise DeadlineExceeded(
            f"not everything was ready within {options.ready_within:g} s",
            hint=("mas status", f"tail {log_path}", "mas down"),
        ) from None
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        raise


async def down(project: Project, timeout: float = DOWN_SECONDS) -> int:
    """Stop what runs the project; returns the process id it had, or 0 when nothing ran.

    Raises:
        DeadlineExceeded: It did not end in time.
    """
    pid = running_pid(project)
    if not pid:
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if running_pid(project) != pid:
            return pid
        await asyncio.sleep(0.05)
    raise DeadlineExceeded(
        f"process {pid} did not end within {timeout:g} s", hint=("mas down --timeout 5m", f"kill -9 {pid}")
    )


async def _until_ready(pid: int, reader: int, on_event: OnEvent) -> int:
    events = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(events), os.fdopen(reader, "rb", buffering=0)
    )
    try:
        while line := await events.readline():
            event = msgspec.json.decode(line, type=RunEvent)
            if event.kind == "failed":
                raise _as_error(event)
            on_event(event)
            if event.kind != "ready":
                continue
            if not event.hint:
                return pid
            kind = DeadlineExceeded if event.state == "late" else AgentFailed
            raise kind(event.message, hint=(*event.hint, "mas status", "mas down"))
    finally:
        transport.close()
    raise InternalError("the background process ended early", hint="tail .mas/logs/up.log")


def _as_error(event: RunEvent) -> MasError:
    kinds: list[type[MasError]] = [MasError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = next((kind for kind in kinds if kind.code == event.code), MasError)
    return found(event.message, hint=event.hint)
