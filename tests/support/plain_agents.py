"""Agents that speak the plain messages of agents.proto to a server, as those in other languages do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc
import grpc.aio
from support.serving import Serving, serving
from support.systems import LiveSystem

from mas_core.errors import MasError
from mas_core.protocol import agents_pb2 as wire
from mas_core.protocol.agents_pb2 import FromAgent, ToAgent
from mas_core.protocol.faults import error_of
from mas_core.protocol.frames_pb2 import Error
from mas_core.settings.private_files import private_dir, write_token

PATIENCE_S = 15

REPLIES = {
    "Send": wire.Receipt,
    "Request": wire.Message,
    "Publish": wire.Receipt,
    "Discover": wire.DiscoverReply,
    "GetState": wire.State,
    "SetState": wire.State,
    "AssignTask": wire.AssignedTask,
    "GetTask": wire.Task,
    "CancelTask": wire.Task,
}


def keep_tokens(system: LiveSystem) -> None:
    """Have the project of a system keep the tokens of all its agents, so that a server can speak for them."""
    tokens = private_dir(system.folder / ".mas" / "tokens")
    for agent_id, token in system.tokens.items():
        write_token(tokens, agent_id, token)


@asynccontextmanager
async def serving_plainly(system: LiveSystem) -> AsyncIterator[Serving]:
    """A server in front of a system whose project keeps the tokens of all its agents."""
    keep_tokens(system)
    async with serving(system.system, system.folder / "certs") as running:
        yield running


class Caller:
    """Whoever has the certificate of an agent."""

    def __init__(self, running: Serving, agent_id: str) -> None:
        files = running.certificates.agent(agent_id)
        self.channel = grpc.aio.secure_channel(
            running.url.removeprefix("grpcs://"),
            grpc.ssl_channel_credentials(
                files.ca_path.read_bytes(), files.key_path.read_bytes(), files.cert_path.read_bytes()
            ),
            options=(("grpc.use_local_subchannel_pool", 1),),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def call(self, method: str, asked: Any) -> Any:
        """Make a call; raises grpc.aio.AioRpcError."""
        call = self.channel.unary_unary(
            f"/mas.v1.Agents/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=REPLIES[method].FromString,
        )
        return await call(asked, timeout=PATIENCE_S)

    async def refused(self, method: str, asked: Any) -> tuple[grpc.StatusCode, MasError]:
        """Make a call that fails: its status, and the error that came with it."""
        try:
            await self.call(method, asked)
        except grpc.aio.AioRpcError as error:
            return error.code(), error_in(error)
        raise AssertionError(f"{method} was not refused")

    async def connect(self, **hello: Any) -> Stream:
        """Be there as a running agent."""
        stream = Stream(self.channel)
        await stream.say(hello=FromAgent.Hello(**hello))
        stream.welcome = (await stream.next()).welcome
        assert stream.welcome.agent_id
        return stream


def error_in(error: grpc.aio.AioRpcError) -> MasError:
    """The error of ours in one of gRPC."""
    for name, value in error.trailing_metadata() or ():
        if name == "mas-error-bin":
            found = error_of(Error.FromString(value))
            assert (error.details() or "").startswith(f"{found.code}: "), error.details()
            return found
    raise AssertionError(f"no error of ours: {error.code()} {error.details()}")


class Stream:
    """A `Connect` stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = channel.stream_stream(
            "/mas.v1.Agents/Connect",
            request_serializer=FromAgent.SerializeToString,
            response_deserializer=ToAgent.FromString,
        )()
        self.welcome = ToAgent.Welcome()

    async def say(self, *, number: int = 0, delivery: int = 0, **what: Any) -> None:
        """Say something, under a number."""
        await self.call.write(FromAgent(id=number, delivery=delivery, **what))

    async def next(self) -> ToAgent:
        """What is said next."""
        async with asyncio.timeout(PATIENCE_S):
            said = await self.call.read()
        assert isinstance(said, ToAgent), "the stream has ended"
        return said

    async def delivery(self) -> ToAgent.Delivery:
        """The next delivery, which comes next."""
        said = await self.next()
        assert said.HasField("delivery"), said
        return said.delivery

    async def answer(self, number: int) -> ToAgent.Answer:
        """The answer to what was said under a number, which comes next."""
        said = await self.next()
        assert said.answer.id == number, said
        return said.answer

    async def ack(self, delivery: ToAgent.Delivery) -> None:
        """Acknowledge."""
        await self.say(delivery=delivery.number, ack=FromAgent.Ack())

    async def end(self) -> None:
        """Drain, and wait until the server has ended the stream."""
        await self.say(drain=FromAgent.Drain())
        async with asyncio.timeout(PATIENCE_S):
            while isinstance(await self.call.read(), ToAgent):
                pass
        assert await self.call.code() is grpc.StatusCode.OK, await self.call.details()

    async def reason(self) -> tuple[grpc.StatusCode, MasError]:
        """Why the server has ended the stream: its status, and the error that came with it."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while isinstance(await self.call.read(), ToAgent):
                    pass
            except grpc.aio.AioRpcError as error:
                return error.code(), error_in(error)
        raise AssertionError(f"it ended well: {await self.call.code()}")


def data_of(message: wire.Message) -> Any:
    """The payload of a message."""
    return json.loads(message.data)


def message(target: str, message_type: str = "work", data: Any = None, **options: Any) -> wire.NewMessage:
    """A message to be sent."""
    return wire.NewMessage(target=target, type=message_type, data=json.dumps(data or {}), **options)
