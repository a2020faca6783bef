"""Where an exception came from, without what it was about.

Texts of exceptions and local variables may hold payloads, so neither may reach a log.
"""

from __future__ import annotations

import traceback

from mas_core.errors import Forbidden


def trace_of(error: BaseException) -> str:
    """Kind of the exception and the lines it passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return f"{type(error).__name__} at " + " < ".join(reversed(places))


def hint_of(error: BaseException) -> dict[str, list[str]]:
    """As a field of a log: the commands that would permit what was refused; empty for everything else."""
    return {"hint": list(error.hint)} if isinstance(error, Forbidden) and error.hint else {}
