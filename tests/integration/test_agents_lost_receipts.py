"""A receipt that got lost is asked for again, however busy the sender is."""

import asyncio

from mas_core import Agent


class Sink(Agent):
    """Takes everything."""

    async def on_message(self, message):
        """Nothing to do."""


async def test_a_lost_receipt_is_asked_for_while_others_keep_coming(monkeypatch):
    """Receipts of later frames show that the earlier one was judged; its message is not given up."""
    url = "memory://lost-receipts"
    async with Sink("sink", redis_url=url), Agent("source", redis_url=url) as source:
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
