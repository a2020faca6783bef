"""What an agent of another language says in its stream, carried out by one that is not started."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError

from mas_core.errors import MasError
from mas_core.protocol.agents_pb2 import FromAgent, NewMessage
from mas_core.server.hosted_agent import HostedAgent


@cache
def _agent() -> tuple[asyncio.AbstractEventLoop, HostedAgent]:
    nobody: Any = None
    return asyncio.new_event_loop(), HostedAgent("alice", FromAgent.Hello(), nobody)


def say_plainly(data: bytes) -> None:
    """A hello makes an agent or is the caller's fault; everything else is, since the agent is not started."""
    try:
        said = FromAgent.FromString(data)
    except DecodeError:
        return
    loop, agent = _agent()
    with contextlib.suppress(MasError):
        if said.HasField("hello"):
            HostedAgent("alice", said.hello, agent._desk)
        else:
            loop.run_until_complete(agent.carry_out(said))
            raise AssertionError("an agent that is not started has said something")


def plain_seeds() -> list[bytes]:
    """One of each kind that is carried out."""
    message = NewMessage(
        target="bob",
        type="note",
        data='{"n": 1}',
        priority=7,
        ttl_ms=1000,
        message_id="one",
        headers={"a": "b"},
        delivery="exactly_once",
        deliver_at_ms=1_763_769_600_000,
    )
    hello = FromAgent.Hello(
        capabilities=["text"],
        metadata='{"a": 1}',
        max_in_flight=4,
        handle_within_ms=1000,
        mode="exactly_once",
        subscriptions=[FromAgent.Subscription(pattern="orders.>", durable=True, start="7")],
        tasks=FromAgent.TakeTasks(queue="q", types=["make"], slots=2),
    )
    said = [
        FromAgent(hello=hello),
        FromAgent(id=1, send=message),
        FromAgent(id=2, change_state=FromAgent.ChangeState(fields='{"a": [1, 2.5, null]}')),
        FromAgent(id=3, drain=FromAgent.Drain()),
    ]
    asking = FromAgent(id=4)
    asking.request.message.CopyFrom(message)
    asking.request.message.deliver_at_ms = 0
    publishing = FromAgent(id=5)
    publishing.publish.topic, publishing.publish.data = "orders.eu", "{}"
    return [item.SerializeToString() for item in (*said, asking, publishing)]
