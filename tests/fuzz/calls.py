"""Calls to a server, carried out in front of a store that takes nothing."""

from __future__ import annotations

import asyncio
from functools import cache
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import DecodeError

from mas_core.errors import UsageError
from mas_core.protocol.frames_pb2 import Call
from mas_core.server.admission import Caller
from mas_core.server.frame_calls import FrameCalls


class Nowhere:
    """Stands for a store, its keys, streams and logs, and notices; whatever reaches it is refused."""

    partitions = width = 4
    namespace = "mas"

    def __init__(self) -> None:
        self.keys = self.topics = self
        self.layout = SimpleNamespace(number=1, partitions=4)

    def agent(self, _agent_id: str) -> Nowhere:
        """The streams of an agent."""
        return self

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_arguments: object, **_options: object) -> None:
            raise UsageError(f"nothing is there to {name}")

        return refuse


@cache
def _calls() -> tuple[asyncio.AbstractEventLoop, FrameCalls]:
    nowhere: Any = Nowhere()
    return asyncio.new_event_loop(), FrameCalls(nowhere, Caller("alice", "here", None, 0.0), nowhere)


def carry_out_call(data: bytes) -> None:
    """What an agent sends to a server: its own fault, or refused by the store."""
    try:
        call = Call.FromString(data)
    except DecodeError:
        return
    loop, calls = _calls()
    answer = loop.run_until_complete(calls.answer(call))
    assert answer.id == call.id
    assert answer.error.code != "internal"


def call_seeds() -> list[bytes]:
    """One call of each kind."""
    seeds = []
    for number, field in enumerate(Call.DESCRIPTOR.oneofs_by_name["ask"].fields, 1):
        call = Call(id=number)
        getattr(call, field.name).SetInParent()
        ask = getattr(call, field.name)
        for name, value in _VALUES.items():
            found = ask.DESCRIPTOR.fields_by_name.get(name)
            if found is not None and found.message_type is None:
                setattr(ask, name, value)
        seeds.append(call.SerializeToString())
    return seeds


_VALUES = {
    "instance": "0123456789abcdef",
    "lane": "normal",
    "entry": "1763769600000-0",
    "topic": "news",
    "pattern": "news.*",
    "after": "1763769600000-0",
    "to": "1763769600000-0",
    "block_ms": 5,
    "gone": "released",
    "group": "g",
    "data": b"{}",
    "mark": "m",
}
