"""The background process of `mas up --detach`: told what to run on standard input, reports on a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from mas_core.base.event_loop import run
from mas_core.base.logs import get_logger, log_to_stderr
from mas_core.base.stop_signals import on_stop_signals
from mas_core.errors import AgentFailed, MasError
from mas_core.ops.background import Daemon
from mas_core.ops.run_events import RunEvent
from mas_core.ops.up import UpOptions, up
from mas_core.settings.project import project_at

log = get_logger("mas_core.up")


async def _main(told: Daemon) -> int:
    stop = asyncio.Event()
    is_ready = False
    running = asyncio.current_task()

    def end(_signal: signal.Signals) -> None:
        if is_ready or running is None:
            stop.set()
        else:
            running.cancel()

    on_stop_signals(end)

    def report(event: RunEvent) -> None:
        nonlocal is_ready
        is_ready |= event.kind == "ready"
        facts = msgspec.structs.asdict(event)
        kind = facts.pop("kind")
        log.info("up", kind=kind, **{name: value for name, value in facts.items() if value})
        # Whoever started us may have left; then nobody needs to know.
        with contextlib.suppress(OSError):
            os.write(told.status_fd, msgspec.json.encode(event) + b"\n")

    def failed(error: MasError) -> int:
        report(RunEvent("failed", error.message, error.hint, code=error.code))
        return 1

    options = UpOptions(
        told.url,
        told.profile,
        told.reload,
        told.ready_within,
        told.force,
        hardened=told.hardened,
        secure=told.secure,
    )
    try:
        drained = await up(project_at(Path(told.config_path)), options, stop, report)
    except MasError as error:
        return failed(error)
    except asyncio.CancelledError:
        return failed(AgentFailed("it was stopped before everything was ready", hint="mas up --detach"))
    return 0 if drained else 1


if __name__ == "__main__":
    log_to_stderr(of_everybody=True)
    os.umask(0o077)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.exit(run(_main(msgspec.json.decode(sys.stdin.buffer.readline(), type=Daemon))))
