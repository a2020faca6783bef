"""Lines of standard input for a command that does other things meanwhile.

A pipe may stay silent for long, and reading it blocks; so a thread of its own reads ahead a little.
"""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import TextIO, TypeVar

AHEAD = 1024
"""Items that are read before they are asked for."""

_T = TypeVar("_T")


def own_stream(stdin: TextIO) -> TextIO:
    """The same input as a stream of its own: a thread that waits on it holds up nothing at the end."""
    try:
        descriptor = os.dup(stdin.fileno())
    except io.UnsupportedOperation:
        return stdin
    return open(descriptor, encoding=stdin.encoding, errors=stdin.errors)  # noqa: PTH123 - lives on


async def in_background(items: Iterator[_T]) -> AsyncIterator[_T]:
    """What a blocking iterator gives, read in a thread that ends with the process."""
    loop = asyncio.get_running_loop()
    found: asyncio.Queue[tuple[bool, _T | BaseException | None]] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)

    def hand_over(is_item: bool, what: _T | BaseException | None) -> None:
        # the loop is closed when the command ended without us
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(found.put_nowait, (is_item, what))

    def read() -> None:
        try:
            for item in items:
                room.acquire()
                hand_over(True, item)
        except Exception as error:  # noqa: BLE001 - it is raised where the items are used
            hand_over(False, error)
        else:
            hand_over(False, None)

    threading.Thread(target=read, name="standard-input", daemon=True).start()
    while True:
        is_item, what = await found.get()
        if not is_item:
            if isinstance(what, BaseException):
                raise what
            return
        room.release()
        yield what  # type: ignore[misc]
