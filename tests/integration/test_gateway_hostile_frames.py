"""What an agent with a valid token can put into a frame refuses itself, and stops nobody else."""

import asyncio
import time

import pytest
from support.systems import Recorder
from support.waiting import until

from mas_core import Agent, Decision, RetryPolicy
from mas_core.base.ids import new_message_id
from mas_core.gateway import kept_messages, redelivery
from mas_core.gateway.judge import Judge
from mas_core.model.message import Envelope

WAIT_S = 10


class Sink(Agent):
    """Takes everything."""

    async def on_message(self, message):
        """Nothing to do."""


def envelope(target, message_type, data, **more):
    return Envelope(new_message_id(), target, message_type, data, time.time_ns() // 1_000_000, **more)


async def submit(agent, message):
    """The receipt of an envelope that no honest client would make."""
    return await asyncio.wait_for(agent._client._outbox.submit(message, route=agent.id), WAIT_S)


HOSTILE = {
    "deep question": envelope("gateway", "mas.discover", b'{"metadata":{"a":' + b"[" * 9000 + b"]" * 9000 + b"}}"),
    "deep presence": envelope("gateway", "mas.beat", b'{"metadata":{"a":' + b"[" * 9000 + b"]" * 9000 + b"}}"),
    "endless life": envelope("sink", "note", b"{}", ttl_ms=2**64 - 1),
    "numbers that grow": envelope("sink", "note", b'{"a":[' + b",".join([b"1e9"] * 240_000) + b"]}"),
    "a card as correlation": envelope("sink", "note", b"{}", correlation="4111111111111111"),
    "a key twice": envelope("sink", "note", b'{"4111111111111111":1,"4111111111111111":2}'),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_messages_are_invalid_and_others_go_on(name):
    """The sender is told, nothing of the text is kept, and the partition works as before."""
    url = f"memory://hostile-{name.replace(' ', '-')}"
    async with Sink("sink", redis_url=url) as sink, Agent("evil", redis_url=url) as evil:
        receipt = await submit(evil, HOSTILE[name])

        assert receipt.decision is Decision.INVALID
        assert (await evil.send("sink", "note", {})).decision is Decision.ALLOWED
        blocks = [block async for block in sink._store.records.audit_blocks(0)]
        assert not any(b"4111111111111111" in block.text for block in blocks)


@pytest.mark.parametrize("entry", ["99999999999999999999-0", "٣-٣", "-", "1-", "x"])
async def test_a_handed_back_message_that_cannot_exist_is_ignored(entry):
    """An entry that no stream can have is not asked for."""
    url = "memory://hostile-entry"
    nack = envelope(
        "gateway", "mas.nack", b'{"lane":"high","entry":"%s","position":0,"code":"x"}' % entry.encode()
    )
    async with Sink("sink", redis_url=url), Agent("evil", redis_url=url) as evil:
        await submit(evil, nack)

        assert (await evil.send("sink", "note", {})).decision is Decision.ALLOWED


async def test_a_frame_that_cannot_be_judged_is_passed_over(monkeypatch):
    """A bug that one message sets off costs its frame, which is recorded, and nobody else's."""
    url = "memory://hostile-bug"
    original = Judge._pass_on

    def failing(judge, transits):
        if any(transit.envelope.type == "bug" for transit in transits):
            raise ZeroDivisionError
        original(judge, transits)

    monkeypatch.setattr(Judge, "_pass_on", failing)
    async with Sink("sink", redis_url=url) as sink, Agent("evil", redis_url=url) as evil:
        doomed = asyncio.create_task(evil._client._outbox.submit(envelope("sink", "bug", b"{}")))

        assert (await asyncio.wait_for(sink.send("sink", "note", {}), WAIT_S)).is_delivered
        doomed.cancel()
        texts = [block.text async for block in sink._store.records.audit_blocks(0)]
        assert any(b"the frame cannot be judged" in text for text in texts)
        assert (await sink.send("sink", "note", {})).is_delivered


async def test_a_due_message_that_cannot_be_gone_on_with_stops_nobody(monkeypatch):
    """A bug that a retry sets off costs its time, and neither the message nor those of others."""
    url = "memory://hostile-due"
    monkeypatch.setattr(kept_messages, "POSTPONED_MS", 1)
    original, failures = redelivery.Redelivery.deliver_again, []

    def failing(self, *arguments):
        if len(failures) < 2:
            failures.append(arguments)
            raise ZeroDivisionError
        original(self, *arguments)

    monkeypatch.setattr(redelivery.Redelivery, "deliver_again", failing)

    class FailingOnce(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            if message.attempt == 1 and message.message_type == "first":
                raise RuntimeError

    quick = RetryPolicy(strategy="fixed", base=0.001)
    async with FailingOnce("sink", redis_url=url, retry=quick) as sink, Agent("evil", redis_url=url) as evil:
        await evil.send("sink", "first", {})
        await until(lambda: len(failures) == 2)

        assert (await evil.send("sink", "second", {})).is_delivered
        await until(lambda: ("first", 2) in {(one.message_type, one.attempt) for one in sink.messages})
