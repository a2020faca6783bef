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
from mas_core.errors import MasError
from mas_core.ops.up import Daemon, UpEvent, UpOptions, up
from mas_core.settings.project import project_at

log = get_logger("mas_core.up")


async def _main(told: Daemon) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def report(event: UpEvent) -> None:
        log.info(event.kind, message=event.message, agent=event.agent_id, pid=event.pid, hint=event.hint)
        # Whoever started us may have left; then nobody needs to know.
        with contextlib.suppress(OSError):
            os.write(told.status_fd, msgspec.json.encode(event) + b"\n")

    try:
        options = UpOptions(told.url, told.profile, told.reload)
        drained = await up(project_at(Path(told.config_path)), options, stop, report)
    except MasError as error:
        report(UpEvent("failed", error.message, error.hint, code=error.code))
        return 1
    return 0 if drained else 1


if __name__ == "__main__":
    log_to_stderr()
    os.umask(0o077)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.exit(run(_main(msgspec.json.decode(sys.stdin.buffer.readline(), type=Daemon))))
