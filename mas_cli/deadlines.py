"""An end for code that blocks: a deadline, or Ctrl-C, wherever the main thread is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LEAST = 0.001
"""A timer of zero would be no timer."""


@contextmanager
def interrupted_after(seconds: float | None, error: Callable[[], Exception]) -> Iterator[None]:
    """Raise `error()` in the block when it takes longer than `seconds`; None is no limit.

    Only for the main thread. A timer that runs already goes on afterwards.
    """
    if seconds is None:
        yield
        return

    def expired(*_: object) -> None:
        raise error()

    handler = signal.signal(signal.SIGALRM, expired)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, max(seconds, LEAST))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
        signal.signal(signal.SIGALRM, handler)


@contextmanager
def interrupted_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end a wait for input at once.

    An event loop would only cancel its task, which does not notice while it waits.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
