"""Headers travel with a message and are scanned like its payload."""

import pytest

from mas_core import Agent, PayloadBlocked


class Sink(Agent):
    """Takes everything."""

    async def on_message(self, message):
        """Nothing to do."""


async def test_a_card_number_in_a_header_is_blocked():
    """What would be blocked in a payload does not pass beside it."""
    url = "memory://headers"
    async with Sink("sink", redis_url=url), Agent("source", redis_url=url) as source:
        await source.send("sink", "note", {"text": "fine"}, headers={"trace": "abc"})

        with pytest.raises(PayloadBlocked, match="headers hold card"):
            await source.send("sink", "note", {"text": "fine"}, headers={"x": "4111 1111 1111 1111"})
