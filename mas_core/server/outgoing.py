"""What goes out in one stream, one after the other; whoever says something waits until it is on its way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import grpc.aio

from mas_core.protocol.agents_pb2 import ToAgent
from mas_core.server.callers import Context

FLUSH_S: Final = 1.0


class Outgoing:
    """Writes to a stream.

    It has a task of its own, since to cancel what writes is to spoil the stream, and handlers are cancelled.

    Args:
        context: The stream.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: asyncio.Queue[tuple[ToAgent, asyncio.Future[None]]] = asyncio.Queue()
        self._writing: asyncio.Task[None] | None = None
        self._is_over = False

    async def write(self, said: ToAgent) -> None:
        """Say something; where nobody is there any more, it is lost, and whoever reads notices."""
        if self._is_over:
            return
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((said, written))
        await written

    async def flush(self) -> None:
        """Wait a moment for what is being said."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._waiting.join()

    async def close(self) -> None:
        """Say nothing more."""
        self._is_over = True
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while True:
                said, written = await self._waiting.get()
                # What nobody waits for any more is not worth saying.
                if not written.cancelled():
                    await self._context.write(said)
                if not written.done():
                    written.set_result(None)
                self._waiting.task_done()
        except (grpc.aio.BaseError, asyncio.InvalidStateError):
            # The connection is gone, which the reader learns as well.
            if not written.done():
                written.set_result(None)
            self._waiting.task_done()
        finally:
            self._is_over = True
            while not self._waiting.empty():
                _, written = self._waiting.get_nowait()
                if not written.done():
                    written.set_result(None)
                self._waiting.task_done()
