"""An end for code that blocks: interrupts the main thread wherever it is."""

from __future__ import annotations

import signal
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
