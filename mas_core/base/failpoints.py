"""Failpoints: named places where a process dies or stops on purpose, so that a crash at every step can be tested.

They count with `MAS_TESTING=1` only; otherwise `failpoint` does nothing. `MAS_FAILPOINT` then names the place:
`gateway.before_commit` dies there as by `kill -9`, `gateway.before_commit:5` the fifth time that it gets there, and
`gateway.before_commit:5=stop` stops there as by SIGSTOP and goes on with SIGCONT.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

_SIGNALS: Final = {"": signal.SIGKILL, "kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Failpoints:
    """What a process under test does at one of its failpoints.

    Args:
        text: Value of `MAS_FAILPOINT`: `NAME[:TIMES][=kill|stop]`; nothing arms none.
    """

    def __init__(self, text: str) -> None:
        self.arm(text)

    def arm(self, text: str) -> None:
        """Take another place; for a process that was forked from one which had it imported."""
        place, _, act = text.partition("=")
        self._name, _, times = place.partition(":")
        self._left = int(times or 1)
        self._signal = _SIGNALS[act]

    def reached(self, name: str) -> None:
        """Act when this is the place, and the process was here often enough."""
        if name == self._name and name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


def _ignore(_name: str) -> None:
    """Do nothing, outside of tests."""


armed: Final = (
    Failpoints(os.environ.get("MAS_FAILPOINT", "")) if os.environ.get("MAS_TESTING") == "1" else None
)
"""What is to happen; None outside of tests."""

failpoint: Final[Callable[[str], None]] = _ignore if armed is None else armed.reached
"""Called at each step where a crash is tested."""
