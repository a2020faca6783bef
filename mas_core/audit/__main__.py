"""`python -m mas_core.audit`: the notary of the project that the environment leads to.

With `--until-input-ends` it also ends when its standard input does: whoever started it is gone then. While
another notary has the folder it waits, and takes over when that one ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from mas_core.base.event_loop import run
from mas_core.base.logs import get_logger, log_to_stderr
from mas_core.errors import MasError
from mas_core.ops.notary import serve_evidence
from mas_core.settings.target import resolve_target

log = get_logger("mas_core.audit")


async def _main() -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if "--until-input-ends" in sys.argv[1:]:
        loop.add_reader(sys.stdin.fileno(), _read, loop, stop)
    try:
        await serve_evidence(resolve_target(), stop, is_waiting=True)
    except MasError as error:
        log.error("notary.failed", code=error.code, reason=error.message, hint=error.hint)
        return 1
    return 0


def _read(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


if __name__ == "__main__":
    os.umask(0o077)
    log_to_stderr(of_everybody=True)
    sys.exit(run(_main()))
