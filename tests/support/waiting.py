"""Waiting for what will happen, instead of sleeping for as long as it might take."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], object | Awaitable[object]], seconds: float = 10.0) -> object:
    """Wait until `condition`, a plain or an async function, gives something true; that is returned.

    Raises:
        AssertionError: It did not within the time.
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"this did not come true within {seconds:g} s: {_text(condition)}") from None


def _text(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
