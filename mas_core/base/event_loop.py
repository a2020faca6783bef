"""Runs a program's coroutine, on uvloop where it is installed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


GC_THRESHOLDS = (50_000, 20, 50)
"""A message makes many short-lived objects and hardly a cycle; the default looks for cycles all the time."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` as the whole program, to its end, on the fastest event loop there is."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
