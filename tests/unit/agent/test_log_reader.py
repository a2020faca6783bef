"""Readers of logs end when they are told to, whatever they are doing at that moment."""

import asyncio

from mas_core.agent.log_reader import _unless


async def test_a_reader_ends_at_every_moment():
    """It is cancelled after each number of turns of the loop, and never overhears it."""
    changed = asyncio.Event()

    async def quick():
        await asyncio.sleep(0)
        return []

    async def read():
        while True:
            await _unless(changed, quick())

    for turns in range(12):
        reading = asyncio.create_task(read())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        done, _ = await asyncio.wait((reading,), timeout=1)
        for task in () if done else (reading,):
            task.cancel()
        assert done, f"cancelled after {turns} turns it goes on"
