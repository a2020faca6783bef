"""A system behind sentinels: it follows the primary, and leaves one that is none any more."""

import asyncio

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import StoreUnreachable
from mas_core.store.store import Store


async def port_of(store):
    """Where the store writes; None while it is nowhere."""
    try:
        info = (await store.connection.call("INFO", "server")).decode()
    except StoreUnreachable:
        return None
    return int(next(line.split(":")[1] for line in info.splitlines() if line.startswith("tcp_port:")))


async def test_an_unknown_service_and_sentinels_that_are_gone_are_told(sentinels):
    """In words, and as something that may pass."""
    async with Store(sentinels.url.replace("/main", "/other")) as store:
        with pytest.raises(StoreUnreachable, match="know no master named other"):
            await store.ping()
    async with Store("redis+sentinel://127.0.0.1:1,127.0.0.1:2/main") as store:
        with pytest.raises(StoreUnreachable, match="of 2 sentinels 0 answered"):
            await store.ping()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_demoted_primary_is_left_by_those_who_only_read(sentinels, own_namespace):
    """Nobody tells them: connections to it stay open, and it still takes itself for what it was."""
    async with Store(sentinels.url, namespace=own_namespace) as store:
        primary = sentinels.primary
        assert await port_of(store) == primary.port
        replica = next(
            member for member in sentinels.members if not member.is_sentinel and member is not primary
        )
        sentinels.sentinels[0].call("SENTINEL", "FAILOVER", "main")
        await asyncio.to_thread(sentinels.wait_for_promotion, primary, 60)

        async def has_moved():
            return await port_of(store) == replica.port

        await until(has_moved, seconds=30)
        assert await store.agent("alice").set_state(None, b"{}") == (True, 1)
    await asyncio.to_thread(sentinels.wait_until_whole, 60)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_system_follows_the_primary(sentinels):
    """Agents and gateway go on by themselves after it was killed."""
    async with live_system(sentinels.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        bob, alice = await system.run("bob"), await system.client("alice")
        await alice.send("bob", "x", {"n": 1})
        primary = sentinels.primary
        primary.kill()
        await alice.send("bob", "x", {"n": 2}, timeout=60)
        await until(lambda: bob.numbers == [1, 2], seconds=30)
        await asyncio.to_thread(sentinels.restart, seconds=60)

        assert sentinels.primary is not primary
        assert await system.audit_holds()
