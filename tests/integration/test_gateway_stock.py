"""Places of a rate limit that are reserved ahead are neither lost nor given out twice."""

import asyncio

from support.systems import live_system
from support.waiting import until

from mas_core.model.decision import Decision
from mas_core.model.policy import RateLimit
from mas_core.store.limits import MAX_ENTRIES

LIMIT = RateLimit(per_minute=MAX_ENTRIES + 200, per_hour=1_000_000)


async def test_s15_what_is_reserved_ahead_lets_no_more_and_no_less_through(any_url):
    """One at a time, then all at once: the limit is reached exactly, as if nothing were reserved ahead."""
    async with live_system(any_url, agents=["a", "b"], allow=[("a", "b")], limit=LIMIT) as system:
        alice, _ = await system.client("a"), await system.run("b")
        again = await system.client("a")
        for number in range(100):
            await alice.send("b", "note", {"n": number})

        receipts = await asyncio.gather(
            *(client.send_many("b", "note", [{"n": 0}] * 800) for client in (alice, again))
        )

        decisions = [receipt.decision for some in receipts for receipt in some]
        assert decisions.count(Decision.ALLOWED) == LIMIT.per_minute - 100
        assert decisions.count(Decision.RATE_LIMITED) == 1600 - (LIMIT.per_minute - 100)


async def test_what_was_reserved_ahead_and_not_used_is_given_back(any_url):
    """A sender that stops has used what it sent, not what was kept ready for it."""
    async with live_system(any_url, agents=["a", "b"], allow=[("a", "b")], limit=LIMIT) as system:
        alice, _ = await system.client("a"), await system.run("b")
        for number in range(50):
            await alice.send_many("b", "note", [{"n": number}] * 10)

        async def used():
            windows = await system.store.limits.use({"a": LIMIT})
            return windows["a"][0].used

        async def is_exact():
            return await used() == 500

        await until(is_exact)
