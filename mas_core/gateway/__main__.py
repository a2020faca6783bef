"""`python -m mas_core.gateway`: a gateway of the project or server that the environment leads to.

SIGTERM or SIGINT drains it: batches in hand end with receipts, and its partitions go to the others. A second
one ends it at once; what it had in hand is then judged anew by the next owner.
A server that cannot keep what the system's profile promises is refused; with `--force` that is only logged.
With `--until-input-ends` it also drains when its standard input ends: whoever started it is gone then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from mas_core.base.event_loop import run
from mas_core.base.logs import get_logger, log_to_stderr
from mas_core.errors import MasError
from mas_core.gateway.process import serve
from mas_core.ops.health.endpoint import gateway_health
from mas_core.settings.target import resolve_target

log = get_logger("mas_core.gateway")


async def _main() -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, number, stop)
    if "--until-input-ends" in sys.argv[1:]:
        loop.add_reader(sys.stdin.fileno(), _read, loop, stop)
    try:
        target = resolve_target()
        async with gateway_health(target) as tell:
            await serve(target, stop, on_change=tell, force="--force" in sys.argv[1:])
    except MasError as error:
        log.error("gateway.failed", code=error.code, reason=error.message, hint=error.hint)
        return 1
    return 0


def _end(number: signal.Signals, stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(128 + number)
    stop.set()


def _read(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


if __name__ == "__main__":
    log_to_stderr(of_everybody=True)
    sys.exit(run(_main()))
