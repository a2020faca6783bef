"""Heartbeats that come alone wait a moment for others; nothing else waits for them."""

import asyncio

import pytest
from support.systems import live_system

from mas_core.gateway import preparer
from mas_core.model.message import BEAT
from mas_core.store.partitions import PartitionStore

AGENTS = [f"worker-{number}" for number in range(12)]


@pytest.fixture
async def system(server_url):
    """A dozen agents, of whom the first may send to the second."""
    async with live_system(server_url, agents=AGENTS, allow=[(AGENTS[0], AGENTS[1])]) as opened:
        yield opened


@pytest.fixture
def commits(monkeypatch):
    """Notes each commit that the gateway makes."""
    made = []
    real = PartitionStore.commit

    async def commit(self, *arguments, **options):
        made.append(arguments)
        return await real(self, *arguments, **options)

    monkeypatch.setattr(PartitionStore, "commit", commit)
    return made


async def beat(client, after_s):
    await asyncio.sleep(after_s)
    return await client.tell(BEAT, {"incarnation": client.now_ms()})


async def test_heartbeats_share_commits(system, commits, monkeypatch):
    """A dozen that come 4 ms apart are no dozen commits."""
    monkeypatch.setattr(preparer, "BEATS_WAIT_S", 0.3)
    clients = [await system.client(name) for name in AGENTS]
    commits.clear()
    await asyncio.gather(
        *(beat(client, number * 0.004) for number, client in enumerate(clients)), return_exceptions=True
    )
    assert len(commits) < len(AGENTS) / 2


async def test_a_message_takes_waiting_heartbeats_along(system, commits, monkeypatch):
    """It is judged with them, in the commit that it would have had alone."""
    monkeypatch.setattr(preparer, "BEATS_WAIT_S", 10.0)
    sender, beating = await system.client(AGENTS[0]), await system.client(AGENTS[2])
    commits.clear()
    waiting = asyncio.create_task(beat(beating, 0))
    await asyncio.sleep(0.02)
    assert (await sender.send(AGENTS[1], "note", {})).is_delivered
    await asyncio.gather(waiting, return_exceptions=True)
    assert len(commits) == 1
