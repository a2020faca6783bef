"""A rate limit holds in every sliding window, by the server's clock."""

from collections import deque

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mas_core.model.policy import RateLimit


async def reserve(store, wanted, limit, agent_id="alice", partition=0):
    lookups = store.partition(partition).lookups()
    lookups.reserve(0, agent_id, wanted, limit)
    await lookups.run()
    return lookups.grants[agent_id]


async def backdate(store, seconds, agent_id="alice"):
    """Make everything that was counted so much older."""
    key = store.keys.limit(0, agent_id)
    reply = await store.connection.call("HGETALL", key)
    slots = dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply
    await store.connection.call("DEL", key)
    for name, count in slots.items():
        kind, number = name[:1], int(name[1:])
        number -= seconds if kind == b"s" else seconds // 60
        await store.connection.call("HSET", key, kind + str(number).encode(), count)


async def test_a_limit_is_granted_and_no_more(store):
    """Part of a wish is granted, then nothing, with the window and the time until more."""
    limit = RateLimit(per_minute=10, per_hour=1000)

    first = await reserve(store, 7, limit)
    second = await reserve(store, 7, limit)
    third = await reserve(store, 1, limit)

    assert (first.granted, first.retry_after_ms, first.window) == (7, 0, "")
    assert (second.granted, second.window) == (3, "minute")
    assert (third.granted, third.window) == (0, "minute")
    assert 55_000 < third.retry_after_ms <= 61_000


async def test_agents_are_counted_apart(store):
    """One agent's messages say nothing about another's, nor about another partition's count."""
    limit = RateLimit(per_minute=5, per_hour=5)
    await reserve(store, 5, limit)

    assert (await reserve(store, 5, limit, "bob")).granted == 5


async def test_all_owners_count_together(store):
    """An agent that sends into several partitions has one limit."""
    limit = RateLimit(per_minute=5, per_hour=5)
    await reserve(store, 3, limit, partition=0)

    assert (await reserve(store, 3, limit, partition=1)).granted == 2


async def test_a_limit_of_nothing_grants_nothing(store):
    """0 is a limit, not the absence of one."""
    assert (await reserve(store, 1, RateLimit(per_minute=0, per_hour=10))).granted == 0
    assert (await reserve(store, 1, RateLimit(per_minute=10, per_hour=0))).granted == 0


async def test_the_hour_counts_beside_the_minute(store):
    """The tighter window decides and is named."""
    limit = RateLimit(per_minute=10, per_hour=12)
    await reserve(store, 10, limit)
    await backdate(store, 120)

    grant = await reserve(store, 10, limit)

    assert (grant.granted, grant.window) == (2, "hour")
    assert 3_400_000 < grant.retry_after_ms <= 3_660_000


async def test_a_minute_later_there_is_room_again(store):
    """What lies outside of the window is dropped; the hour goes on counting it."""
    limit = RateLimit(per_minute=10, per_hour=1000)
    await reserve(store, 10, limit)
    await backdate(store, 50)
    assert (await reserve(store, 10, limit)).granted == 0
    await backdate(store, 20)

    assert (await reserve(store, 10, limit)).granted == 10


async def test_an_hour_later_everything_is_forgotten(store):
    """Neither window holds anything, and no slot stays behind."""
    limit = RateLimit(per_minute=10, per_hour=10)
    await reserve(store, 10, limit)
    await backdate(store, 3_720)

    assert (await reserve(store, 10, limit)).granted == 10
    assert await store.connection.call("HLEN", store.keys.limit(0, "alice")) == 2


async def test_the_time_until_more_is_enough(store):
    """Who waits that long gets something."""
    limit = RateLimit(per_minute=10, per_hour=1000)
    await reserve(store, 10, limit)
    grant = await reserve(store, 1, limit)
    await backdate(store, -(-grant.retry_after_ms // 1000))

    assert (await reserve(store, 1, limit)).granted == 1


async def test_counts_expire_with_the_window(store):
    """A silent agent leaves nothing behind."""
    await reserve(store, 1, RateLimit())

    assert 3_600_000 < await store.connection.call("PTTL", store.keys.limit(0, "alice")) <= 3_720_000


steps = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 45)), min_size=1, max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
async def test_no_sliding_minute_ever_holds_more_than_its_limit(store, steps):
    """Whatever is asked for at whatever times, edges of slots included."""
    limit = RateLimit(per_minute=50, per_hour=100_000)
    await store.connection.call("DEL", store.keys.limit(0, "alice"))
    granted: deque[tuple[int, int]] = deque()
    clock = 0
    for wanted, pause in steps:
        grant = await reserve(store, wanted, limit)
        granted.append((clock, grant.granted))
        assert sum(count for when, count in granted if when > clock - 60) <= 50
        assert grant.granted in range(wanted + 1)
        if pause:
            await backdate(store, pause)
            clock += pause
