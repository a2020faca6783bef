"""How a program that runs until it is told to stop gets told: by a signal, or by the end of its standard input.

`run_service` is all that a service of ours needs as its main program.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from mas_core.base.event_loop import run
from mas_core.base.logs import get_logger, log_to_stderr
from mas_core.errors import MasError

UNTIL_INPUT_ENDS: Final = "--until-input-ends"
"""Argument that tells a service to end, too, when whoever started it is gone."""

log = get_logger("mas_core.service")


def run_service(
    serve: Callable[[asyncio.Event], Awaitable[bool | None]], failed: str, *, ends_at_second: bool = False
) -> int:
    """Run a service as the whole program, with logs on standard error, until it is told to stop.

    Args:
        serve: Serves until the event is set; False says that it did not end in order.
        failed: What the log calls an error of ours that ends it, such as `gateway.failed`.
        ends_at_second: A second signal ends the program at once.

    Returns:
        The exit code: 0 where it ended in order, else 1.
    """
    log_to_stderr(of_everybody=True)

    async def main() -> int:
        stop = told_to_stop(ends_at_second=ends_at_second, until_input_ends=UNTIL_INPUT_ENDS in sys.argv[1:])
        try:
            return 1 if await serve(stop) is False else 0
        except MasError as error:
            log.error(failed, code=error.code, reason=error.message, hint=error.hint)
            return 1

    return run(main())


def told_to_stop(*, ends_at_second: bool = False, until_input_ends: bool = False) -> asyncio.Event:
    """An event that is set once the running program is told to stop.

    Args:
        ends_at_second: A signal after that ends the program at once, with the exit code of a shell for it.
        until_input_ends: The end of standard input tells it, too.
    """
    stop = asyncio.Event()

    def signalled(number: signal.Signals) -> None:
        if ends_at_second and stop.is_set():
            os._exit(128 + number)
        stop.set()

    on_stop_signals(signalled)
    if until_input_ends:
        on_input(ended=stop.set)
    return stop


def on_stop_signals(told: Callable[[signal.Signals], object]) -> None:
    """Call `told` with each SIGTERM and SIGINT from now on, within the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told, number)


def on_input(ended: Callable[[], object], told: Callable[[], object] = lambda: None) -> None:
    """Call `told` whenever something comes on standard input, and `ended` when it ends."""
    loop, standard_input = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        if os.read(standard_input, 4096):
            told()
        else:
            loop.remove_reader(standard_input)
            ended()

    loop.add_reader(standard_input, read)
