"""The `Agents` service: agents in any language, in plain messages; the server seals and opens frames for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import InternalError, MasError, RateLimited
from mas_core.protocol import agents_pb2 as wire
from mas_core.server.agent_calls import AgentCalls
from mas_core.server.agent_stream import AgentStream
from mas_core.server.callers import Context, Door, abort
from mas_core.server.hosting import Hosted, HostedClients
from mas_core.server.statuses import status_of
from mas_core.store.store import Store

log = get_logger(__name__)

NAME: Final = "mas.v1.Agents"
MAX_AGENTS: Final = 512
"""Agents that one server runs for others at the same time."""
CLOSE_S: Final = 10.0

Asked = TypeVar("Asked", bound=Message)
Result = TypeVar("Result")


class AgentsService:
    """Answers agents that leave sealing to the server.

    Args:
        store: The system's.
        door: Lets them in.
        tokens_dir: Where the project keeps the tokens that they are spoken for with.
    """

    def __init__(self, store: Store, door: Door, tokens_dir: Path | None) -> None:
        self._door = door
        self._hosted = Hosted(store, tokens_dir)
        self.clients = HostedClients(self._hosted)
        """Send for those who only call."""
        self._calls = AgentCalls(store, self.clients)
        self._streams: set[AgentStream] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What the gRPC server calls."""
        calls = self._calls
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Send": self._unary(wire.NewMessage, calls.send),
            "Request": self._unary(wire.NewRequest, calls.request),
            "Publish": self._unary(wire.NewPublication, calls.publish),
            "Discover": self._unary(wire.DiscoverRequest, calls.discover),
            "GetState": self._unary(wire.GetStateRequest, calls.get_state),
            "SetState": self._unary(wire.SetStateRequest, calls.set_state),
            "AssignTask": self._unary(wire.NewTask, calls.assign_task),
            "GetTask": self._unary(wire.GetTaskRequest, calls.get_task),
            "CancelTask": self._unary(wire.CancelTaskRequest, calls.cancel_task),
            "Connect": grpc.stream_stream_rpc_method_handler(
                self.connect,
                request_deserializer=wire.FromAgent.FromString,
                response_serializer=wire.ToAgent.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(NAME, methods)

    async def connect(self, _said: object, context: Context) -> None:
        """Be the place of one running agent until it hangs up or may stay no longer."""
        async with self._door.admitted(context, finishes=True) as visit:
            if len(self._streams) >= MAX_AGENTS:
                raise RateLimited(f"the server runs {MAX_AGENTS} agents already")
            stream = AgentStream(self._hosted, visit, context)
            self._streams.add(stream)
            self._is_empty.clear()
            try:
                await visit.until_ended(self._answered(context, visit.caller.agent_id, stream.run()))
            finally:
                # A stream that is cut is cancelled, and its agent has to be ended all the same.
                closing = asyncio.create_task(self._close(stream))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
                await asyncio.shield(closing)

    async def close(self) -> None:
        """End all that runs for others; streams have to have ended."""
        with contextlib.suppress(TimeoutError):
            # Where the store does not answer, what is left ends with the process.
            async with asyncio.timeout(CLOSE_S):
                await self._is_empty.wait()
        await self.clients.close()

    async def _close(self, stream: AgentStream) -> None:
        try:
            await stream.close()
        finally:
            self._streams.discard(stream)
            if not self._streams:
                self._is_empty.set()

    def _unary(
        self, asked: type[Asked], call: Callable[[str, Asked], Awaitable[Message]]
    ) -> grpc.RpcMethodHandler[Asked, Message]:
        async def answer(request: Asked, context: Context) -> Message:
            async with self._door.admitted(context, finishes=True) as visit:
                agent_id = visit.caller.agent_id
                return await visit.until_ended(self._answered(context, agent_id, call(agent_id, request)))
            raise AssertionError  # a visit that is not let in ends the call

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=asked.FromString, response_serializer=_serialized
        )

    async def _answered(self, context: Context, agent_id: str, work: Awaitable[Result]) -> Result:
        """What `work` returns; its errors end the call."""
        try:
            return await work
        except MasError as error:
            await abort(context, error, status_of(error))
        except Exception as error:  # noqa: BLE001 - nobody outside learns of our insides
            log.error("call.failed", agent=agent_id, trace=trace_of(error))
            await abort(context, InternalError("the server could not carry out this call"))


def _serialized(message: Any) -> bytes:
    text: bytes = message.SerializeToString()
    return text
