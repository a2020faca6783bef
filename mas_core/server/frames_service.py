"""The `Frames` service: one conversation of numbered calls and answers for each running agent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from mas_core.base.logs import get_logger
from mas_core.errors import UsageError
from mas_core.protocol.frames_pb2 import Answer, Call
from mas_core.registry.security_notices import SecurityNotices
from mas_core.server.callers import Door
from mas_core.server.frame_calls import FrameCalls
from mas_core.store.store import Store

log = get_logger(__name__)

NAME: Final = "mas.v1.Frames"
MAX_CALLS: Final = 256
"""Calls of one conversation that are carried out at the same time; more wait in the connection."""
MAX_HELD_BYTES: Final = 16 << 20
"""Of calls that are carried out, and of answers that are not taken, before more wait in the connection."""


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
            self.exchange, request_deserializer=_read_call, response_serializer=Answer.SerializeToString
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


def _read_call(data: bytes) -> Call:
    """A call; one that asks for nothing where the bytes are none."""
    try:
        return Call.FromString(data)
    except DecodeError:
        return Call()


class _Conversation:
    def __init__(self, calls: FrameCalls, context: grpc.aio.ServicerContext[Call, Answer]) -> None:
        self._calls = calls
        self._context = context
        self._running: dict[int, asyncio.Task[None]] = {}
        self._held_bytes = 0
        self._has_room = asyncio.Event()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Read calls and have each carried out beside the others.

        Raises:
            UsageError: An id was used a second time.
        """
        try:
            while isinstance(call := await self._context.read(), Call):
                if call.HasField("cancel"):
                    if (given_up := self._running.get(call.cancel.call)) is not None:
                        given_up.cancel()
                    continue
                if call.id in self._running:
                    raise UsageError(f"the call {call.id} is being carried out already")
                self._running[call.id] = asyncio.create_task(self._answer(call))
                self._hold(call.ByteSize())
                await self._room()
        finally:
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _room(self) -> None:
        """Wait until another call may come; until then it waits in the connection."""
        while len(self._running) >= MAX_CALLS or self._held_bytes >= MAX_HELD_BYTES:
            self._has_room.clear()
            await self._has_room.wait()

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self._has_room.set()

    async def _answer(self, call: Call) -> None:
        held = call.ByteSize()
        try:
            answer = await self._calls.answer(call)
            size = answer.ByteSize()
            self._hold(size)
            held += size
            async with self._writing:
                with contextlib.suppress(
                    grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError
                ):
                    # Where the connection is gone, the reader ends the conversation.
                    await self._context.write(answer)
        finally:
            self._running.pop(call.id, None)
            self._hold(-held)
