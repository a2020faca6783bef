"""A rate limit holds in every sliding window, by the server's clock, and lets through whatever fits."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mas_core.base.ids import partition_of
from mas_core.model.policy import RateLimit
from mas_core.store.limits import MAX_ENTRIES, WINDOW_LENGTHS_MS


async def reserve(store, wanted, limit, subject="alice", partition=0):
    lookups = store.partition(partition).lookups()
    lookups.reserve(subject, wanted, limit)
    await lookups.run()
    return lookups.grants[subject]


async def give_back(store, at, places, subject="alice", **options):
    lookups = store.partition(0).lookups()
    lookups.give_back(subject, at, places, **options)
    await lookups.run()


def key_of(store, window, subject="alice"):
    return store.keys.limit(partition_of(subject, store.partitions), subject, window)


async def entries(store, window, subject="alice"):
    reply = await store.connection.call("LRANGE", key_of(store, window, subject), 0, -1)
    return [tuple(map(int, text.split())) for text in reply]


async def backdate(store, milliseconds, subject="alice"):
    """Let that much time pass: everything that was counted becomes so much older."""
    for window, length in WINDOW_LENGTHS_MS.items():
        key = key_of(store, window, subject)
        older = [f"{at - milliseconds} {total}" for at, total in await entries(store, window, subject)]
        left = await store.connection.call("PTTL", key)
        await store.connection.call("DEL", key)
        if older and left > milliseconds:
            await store.connection.call("RPUSH", key, *older)
            await store.connection.call("PEXPIRE", key, min(left - milliseconds, length + 3_600_000))


async def test_a_limit_is_granted_and_no_more(store):
    """Part of a wish is granted, then nothing, with the window and the time until more."""
    limit = RateLimit(per_minute=10, per_hour=1000)

    first = await reserve(store, 7, limit)
    second = await reserve(store, 7, limit)
    third = await reserve(store, 1, limit)

    assert (first.granted, first.retry_after_ms, first.window) == (7, 0, "")
    assert (second.granted, second.window) == (3, "minute")
    assert (third.granted, third.window) == (0, "minute")
    assert third.retry_after_ms == first.at + 60_001 - third.at


async def test_agents_are_counted_apart(store):
    """One agent's messages say nothing about another's."""
    limit = RateLimit(per_minute=5, per_hour=5)
    await reserve(store, 5, limit)

    assert (await reserve(store, 5, limit, "bob")).granted == 5


async def test_many_subjects_are_reserved_in_one_go(store):
    """Each gets its own answer, whatever partition it lives in."""
    limits = {f"agent-{number}": RateLimit(number, 1000, burst=number % 3) for number in range(20)}
    lookups = store.partition(0).lookups()
    for subject, limit in limits.items():
        lookups.reserve(subject, 7, limit)
    await lookups.run()

    assert {subject: grant.granted for subject, grant in lookups.grants.items()} == {
        subject: min(7, limit.per_minute, limit.burst or 7) for subject, limit in limits.items()
    }


async def test_all_owners_count_together(store):
    """An agent that sends into several partitions has one limit."""
    limit = RateLimit(per_minute=5, per_hour=5)
    await reserve(store, 3, limit, partition=0)

    assert (await reserve(store, 3, limit, partition=1)).granted == 2


async def test_a_limit_of_nothing_grants_nothing(store):
    """0 is a limit, not the absence of one, and no waiting helps."""
    for limit in (RateLimit(per_minute=0, per_hour=10), RateLimit(per_minute=10, per_hour=0)):
        grant = await reserve(store, 1, limit)
        assert (grant.granted, grant.retry_after_ms) == (0, 0)
        assert grant.window


async def test_the_hour_counts_beside_the_minute(store):
    """The window that is full is named."""
    limit = RateLimit(per_minute=10, per_hour=12)
    first = await reserve(store, 10, limit)
    await backdate(store, 120_000)

    grant = await reserve(store, 10, limit)

    assert (grant.granted, grant.window) == (2, "hour")
    assert grant.retry_after_ms == first.at - 120_000 + 3_600_001 - grant.at


async def test_a_burst_is_bounded_by_the_second(store):
    """And is over a second later."""
    limit = RateLimit(per_minute=100, per_hour=1000, burst=10)
    first = await reserve(store, 25, limit)
    refused = await reserve(store, 1, limit)
    await backdate(store, 1_001)

    assert (first.granted, first.window) == (10, "second")
    assert (refused.granted, refused.window) == (0, "second")
    assert 0 < refused.retry_after_ms <= 1_001
    assert (await reserve(store, 25, limit)).granted == 10


async def test_s15_two_hundred_around_the_edge_of_a_window_are_one_hundred(store):
    """100 just before and 100 just after a full minute of the clock lie in one window (S15)."""
    limit = RateLimit(per_minute=100, per_hour=1000)
    judged = 60_000
    # A tenth of a second before the edge, by the clock that decides: where it was over sooner, once more.
    while judged >= 60_000:
        await store.limits.reset(["alice"])
        first = await reserve(store, 100, limit)
        await backdate(store, 2)
        second = await reserve(store, 100, limit)
        await backdate(store, 59_898)
        third = await reserve(store, 100, limit)
        judged = third.at - first.at + 59_900
    await backdate(store, 200)
    fourth = await reserve(store, 100, limit)

    assert [grant.granted for grant in (first, second, third, fourth)] == [100, 0, 0, 100]


async def test_s15_a_clock_that_is_set_back_frees_nothing(store):
    """Time never goes back: counts from what is now the future hold until it has come and gone (S15)."""
    limit = RateLimit(per_minute=10, per_hour=1000)
    await reserve(store, 6, limit)
    await backdate(store, -30_000)
    rest = await reserve(store, 10, limit)
    refused = await reserve(store, 1, limit)

    assert (rest.granted, refused.granted) == (4, 0)
    assert 80_000 < refused.retry_after_ms <= 90_001
    await backdate(store, refused.retry_after_ms)
    assert (await reserve(store, 20, limit)).granted == 10


async def test_the_time_until_more_is_exact(store):
    """A moment earlier nothing fits; then one does, and not two."""
    limit = RateLimit(per_minute=10, per_hour=1000)
    await reserve(store, 1, limit)
    await backdate(store, 10_000)
    await reserve(store, 9, limit)
    grant = await reserve(store, 1, limit)
    await backdate(store, grant.retry_after_ms - 1_000)
    assert (await reserve(store, 1, limit)).granted == 0
    await backdate(store, 1_000)

    assert (await reserve(store, 2, limit)).granted == 1


async def test_an_hour_later_everything_is_forgotten(store):
    """Neither window holds anything, and no entry stays behind."""
    limit = RateLimit(per_minute=10, per_hour=10)
    await reserve(store, 10, limit)
    await backdate(store, 3_600_001)

    assert (await reserve(store, 10, limit)).granted == 10
    assert [len(await entries(store, window)) for window in ("minute", "hour")] == [2, 2]


async def test_counts_expire_with_their_window(store):
    """A silent agent leaves nothing behind."""
    await reserve(store, 1, RateLimit(burst=5))

    for window, length in WINDOW_LENGTHS_MS.items():
        left = await store.connection.call("PTTL", key_of(store, window))
        assert length < left <= length + 1_000


async def test_a_large_limit_needs_no_more_memory_than_a_small_one(store):
    """Places taken within a thousandth of the window share an entry and leave with the last of them."""
    limit = RateLimit(per_minute=1_000_000, per_hour=1_000_000)
    for _ in range(40):
        await reserve(store, 1000, limit)
        await backdate(store, 1)
    minute, hour = await entries(store, "minute"), await entries(store, "hour")

    assert len(minute) < 40
    assert len(hour) <= 3
    assert minute[-1][1] == hour[-1][1] == 40_000
    assert MAX_ENTRIES == 1000


async def test_what_was_not_used_is_given_back(store):
    """As if it had never been reserved, even when others were counted meanwhile."""
    limit = RateLimit(per_minute=10, per_hour=100, burst=10)
    first = await reserve(store, 6, limit)
    await backdate(store, 5)
    await reserve(store, 3, limit)
    await give_back(store, first.at - 5, 4)

    (use,) = [one for one in (await store.limits.use({"alice": limit}))["alice"] if one.window == "hour"]
    assert use.used == 5
    assert (await reserve(store, 10, limit)).granted == 5
    await backdate(store, 60_001)
    assert (await reserve(store, 20, limit)).granted == 10


async def test_giving_back_after_the_window_or_a_reset_changes_nothing(store):
    """Places that are not counted any more cannot be taken out of what is."""
    limit = RateLimit(per_minute=10, per_hour=20)
    first = await reserve(store, 10, limit)
    await backdate(store, 60_001)
    await reserve(store, 7, limit)
    await give_back(store, first.at - 60_001, 10)
    assert (await reserve(store, 10, limit)).granted == 3

    await store.limits.reset(["alice"])
    second = await reserve(store, 10, limit)
    await give_back(store, second.at - 500, 10)
    assert (await reserve(store, 10, limit)).granted == 0


async def test_giving_back_more_than_was_reserved_frees_only_that(store):
    """The places of others stay counted."""
    limit = RateLimit(per_minute=10, per_hour=20)
    await reserve(store, 4, limit)
    await backdate(store, 100)
    second = await reserve(store, 2, limit)
    await give_back(store, second.at, 100)

    assert (await reserve(store, 10, limit)).granted == 6


async def test_giving_back_what_was_not_counted_by_the_second_frees_nothing_there(store):
    """Places that were reserved before the limit had a window of a second leave that of others alone."""
    slow = await reserve(store, 9, RateLimit(per_minute=100, per_hour=100))
    burst = RateLimit(per_minute=100, per_hour=100, burst=10)
    assert not slow.by_second
    assert (await reserve(store, 10, burst)).by_second
    await give_back(store, slow.at, slow.granted, by_second=slow.by_second)

    assert (await reserve(store, 10, burst)).granted == 0
    uses = (await store.limits.use({"alice": burst}))["alice"]
    assert {use.window: use.used for use in uses} == {"second": 10, "minute": 10, "hour": 10}


async def test_use_tells_without_counting(store):
    """How much of each window is used, and when all of it is free again."""
    limit = RateLimit(per_minute=10, per_hour=100)
    first = await reserve(store, 4, limit)
    await backdate(store, 10_000)
    uses = await store.limits.use({"alice": limit, "bob": limit})

    now = await store.connection.time_ms()
    assert [(use.window, use.used, use.limit) for use in uses["alice"]] == [
        ("minute", 4, 10),
        ("hour", 4, 100),
    ]
    assert abs(uses["alice"][0].resets_in_ms - (first.at + 50_001 - now)) < 1_000
    assert [(use.used, use.resets_in_ms) for use in uses["bob"]] == [(0, 0), (0, 0)]


async def test_a_reset_frees_everything(store):
    """At once."""
    limit = RateLimit(per_minute=10, per_hour=10, burst=10)
    await reserve(store, 10, limit)
    await store.limits.reset(["alice"])

    assert (await reserve(store, 10, limit)).granted == 10


async def test_counts_that_are_not_ours_grant_nothing(store):
    """Fail closed, for every window, and without an error that would stop a partition."""
    limit = RateLimit(per_minute=10, per_hour=10)
    key = key_of(store, "minute")
    for command in (("SET", key, "1"), ("RPUSH", key, "x y"), ("HSET", key, "a", "b")):
        await store.connection.call("DEL", key)
        await store.connection.call(*command)
        grant = await reserve(store, 1, limit)
        assert (grant.granted, grant.window, grant.retry_after_ms) == (0, "unreadable", 0)
        assert (await store.limits.use({"alice": limit}))["alice"][0].used == -1
    await store.limits.reset(["alice"])

    assert (await reserve(store, 1, limit)).granted == 1


class Oracle:
    """Counts every window from outside: a plain log of (time, admitted), looked through each time."""

    def __init__(self):
        self.log = []

    def room(self, now, limit):
        """How many more fit at `now`, and when one more does."""
        rooms, waits = [], []
        windows = [(60_000, limit.per_minute), (3_600_000, limit.per_hour)]
        if limit.burst:
            windows.append((1_000, limit.burst))
        for length, most in windows:
            inside = [(at, count) for at, count in self.log if at >= now - length]
            rooms.append(most - sum(count for _, count in inside))
        return max(0, min(rooms)), waits

    def holds(self, limit):
        """Whether no window that ends with a message holds more than its limit."""
        return all(
            sum(count for at, count in self.log if end - length <= at <= end) <= most
            for length, most in ((60_000, limit.per_minute), (3_600_000, limit.per_hour))
            for end, _ in self.log
        )


step = st.tuples(
    st.integers(1, 40),
    st.one_of(st.integers(0, 3), st.integers(0, 3_000), st.integers(0, 70_000), st.integers(0, 4_000_000)),
    st.integers(0, 10),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, min_size=1, max_size=20), burst=st.sampled_from([0, 30]))
async def test_s15_the_limiter_agrees_with_an_outside_oracle(store, steps, burst):
    """Whatever is asked for, given back and let pass: never a message more, never one less (S15)."""
    limit = RateLimit(per_minute=50, per_hour=120, burst=burst)
    await store.limits.reset(["alice"])
    oracle, shift = Oracle(), 0
    for wanted, pause, most_unused in steps:
        grant = await reserve(store, wanted, limit)
        now = grant.at + shift
        room, _ = oracle.room(now, limit)
        assert grant.granted == min(wanted, room)
        unused = min(most_unused, grant.granted)
        if unused:
            await give_back(store, grant.at, unused)
        oracle.log.append((now, grant.granted - unused))
        if grant.granted < wanted and not unused:
            assert oracle.room(now + grant.retry_after_ms, limit)[0] >= 1
            assert oracle.room(now + grant.retry_after_ms - 1, limit)[0] == 0
        await backdate(store, pause)
        shift += pause
    assert oracle.holds(limit)
