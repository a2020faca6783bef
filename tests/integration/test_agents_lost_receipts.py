"""A receipt that got lost is asked for again, however busy the sender is."""

import asyncio

from mas_core import Agent


class Sink(Agent):
    """Takes everything."""

    async def on_message(self, message):
        """Count what comes."""
        self.numbers.append(message.data["number"])


async def test_a_lost_receipt_is_asked_for_while_others_keep_coming(monkeypatch):
    """The gateway still has it, however many frames came after; its message is neither given up nor doubled."""
    url = "memory://lost-receipts"
    sink = Sink("sink", redis_url=url)
    sink.numbers = []
    async with sink, Agent("source", redis_url=url) as source:
        replies = source._client._replies
        original, dropped = replies._on_receipts, []

        def lossy(receipts):
            if not dropped:
                dropped.append(receipts[0])
                receipts = receipts[1:]
            original(receipts)

        monkeypatch.setattr(replies, "_on_receipts", lossy)
        first = asyncio.create_task(source.send("sink", "note", {"number": 0}))
        async with asyncio.timeout(15):
            while not dropped:
                await asyncio.sleep(0.01)
            while not first.done():
                await source.send("sink", "note", {"number": 1})
                await asyncio.sleep(0.05)

        assert dropped
        assert first.result().is_delivered
        await source.send("sink", "note", {"number": 2})
        async with asyncio.timeout(5):
            while 2 not in sink.numbers:
                await asyncio.sleep(0.01)
        assert sink.numbers.count(0) == 1
