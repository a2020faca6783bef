"""The `Frames` service: one conversation of numbered calls and answers for each running agent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import grpc
import grpc.aio

from mas_core.base.logs import get_logger
from mas_core.protocol.frames_pb2 import Answer, Call
from mas_core.registry.security_notices import SecurityNotices
from mas_core.server.callers import Door
from mas_core.server.frame_calls import FrameCalls
from mas_core.store.store import Store

log = get_logger(__name__)

NAME: Final = "mas.v1.Frames"
MAX_CALLS: Final = 256
"""Calls of one conversation that are carried out at the same time; more wait in the connection."""


class FramesService:
    """Answers agents that seal their frames themselves.

    Args:
        store: The system's.
        door: Lets them in.
        notices: Where it is recorded what they may not do.
    """

    def __init__(self, store: Store, door: Door, notices: SecurityNotices) -> None:
        self._store = store
        self._door = door
        self._notices = notices

    def handlers(self) -> grpc.GenericRpcHandler:
        """What the gRPC server calls."""
        method = grpc.stream_stream_rpc_method_handler(
            self.exchange, request_deserializer=Call.FromString, response_serializer=Answer.SerializeToString
        )
        return grpc.method_handlers_generic_handler(NAME, {"Exchange": method})

    async def exchange(self, _calls: object, context: grpc.aio.ServicerContext[Call, Answer]) -> None:
        """Talk with one agent until it hangs up or may stay no longer."""
        async with self._door.admitted(context) as visit:
            # Callers wait for this before they ask for anything, so that they learn why they are refused.
            await context.send_initial_metadata(())
            calls = FrameCalls(self._store, visit.caller, self._notices)
            conversation = _Conversation(calls, context)
            await visit.until_ended(conversation.run())


class _Conversation:
    def __init__(self, calls: FrameCalls, context: grpc.aio.ServicerContext[Call, Answer]) -> None:
        self._calls = calls
        self._context = context
        self._running: dict[int, asyncio.Task[None]] = {}
        self._free = asyncio.Semaphore(MAX_CALLS)
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Read calls and have each carried out beside the others."""
        try:
            while isinstance(call := await self._context.read(), Call):
                if call.HasField("cancel"):
                    if (given_up := self._running.get(call.cancel.call)) is not None:
                        given_up.cancel()
                    continue
                await self._free.acquire()
                task = asyncio.create_task(self._answer(call))
                self._running[call.id] = task
        finally:
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _answer(self, call: Call) -> None:
        try:
            answer = await self._calls.answer(call)
            async with self._writing:
                with contextlib.suppress(
                    grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError
                ):
                    # Where the connection is gone, the reader ends the conversation.
                    await self._context.write(answer)
        finally:
            self._running.pop(call.id, None)
            self._free.release()
