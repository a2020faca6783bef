"""How far a long piece of work has come: a line that is rewritten on a terminal, else one now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from mas_cli.output.diagnostics import Diagnostics

FIRST_SECONDS = 1.0
TERMINAL_SECONDS = 0.2
LINE_SECONDS = 10.0


class Progress:
    """Told the number done so far, it shows count and rate; nothing in the first second.

    Args:
        talk: Where it is shown.
        total: How many there will be; 0 when nobody knows.
        unit: What is counted.
    """

    def __init__(self, talk: Diagnostics, total: int, unit: str) -> None:
        self._talk = talk
        self._total = total
        self._unit = unit
        self._began = time.monotonic()
        self._next = self._began + (FIRST_SECONDS if talk.is_terminal else LINE_SECONDS)

    def __call__(self, done: int) -> None:
        """Show that so many are done, when it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (TERMINAL_SECONDS if self._talk.is_terminal else LINE_SECONDS)
        rate = done / (now - self._began)
        goal = f" of {self._total:,}" if self._total else ""
        self._talk.progress(f"{done:,}{goal} {self._unit}, {rate:,.0f}/s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._talk.progress("")
