"""The dispatcher in process."""

import asyncio
import random

import pytest

from mas_core.errors import Backpressure, Conflict, FilterInvalid, UsageError
from mas_core.events.dispatcher import EventDispatcher
from mas_core.events.selection import select
from mas_core.model.event import Event, EventType


async def test_each_subscription_gets_what_it_selects():
    """By type, topic, source and content; plain functions and coroutines."""
    seen = {"type": [], "topic": [], "source": [], "filter": [], "async": []}

    async def later(event):
        await asyncio.sleep(0)
        seen["async"].append(event.data)

    async with EventDispatcher() as dispatcher:
        assert await (found := dispatcher.subscribe("unused", later, type="nothing")) is found
        for name, wanted in {
            "type": {"type": "order.*"},
            "topic": {"topic": "shop.>"},
            "source": {"source": ["web", "app"]},
            "filter": {"type": "order.created", "filter": {"data.amount": {"ge": 100}}},
        }.items():
            dispatcher.subscribe(name, lambda event, name=name: seen[name].append(event.data), **wanted)
        dispatcher.subscribe("async", later, filter="data.amount > 50")
        for type_, topic, source, amount in (
            ("order.created", "shop.eu", "web", 100),
            ("order.created", "", "phone", 60),
            ("refund.created", "shop.us.west", "app", 10),
        ):
            await dispatcher.dispatch(Event(type_, source, {"amount": amount}, topic))
        await dispatcher.drain()

    amounts = {name: [data["amount"] for data in found] for name, found in seen.items()}
    assert amounts == {
        "type": [100, 60],
        "topic": [100, 10],
        "source": [100, 10],
        "filter": [100],
        "async": [100, 60],
    }


async def test_the_index_gives_what_asking_everybody_gives():
    """Over random subscriptions and events, that also come and go."""
    chance = random.Random(7)
    words = ("a", "b", "c")

    def pattern():
        return chance.choice([">", "a.*", "*.b", "a.>", f"{chance.choice(words)}.{chance.choice(words)}"])

    def conditions():
        given = {}
        if chance.random() < 0.6:
            given["data.k"] = chance.choice([1, True, "x", ["x", 2], None, {"exists": False}, 1.0])
        if chance.random() < 0.4:
            given["data.n"] = {chance.choice(["lt", "ge", "ne"]): 5}
        return given or None

    dispatcher = EventDispatcher()
    got: dict[str, list[str]] = {}
    live = {}
    for number in range(2_000):
        if chance.random() < 0.05 and live:
            name = chance.choice(list(live))
            dispatcher.subscription(name).close()
            del live[name]
        if chance.random() < 0.1:
            name = f"s{number}"
            wanted = {
                "type": pattern(),
                "topic": pattern() if chance.random() < 0.5 else ">",
                "source": chance.choice([(), "u", ("u", "v")]),
                "filter": conditions(),
            }
            got[name] = []
            dispatcher.subscribe(name, lambda event, name=name: got[name].append(event.id), **wanted)
            live[name] = (select(**wanted), [])
            got[name] = live[name][1]
        event = Event(
            f"{chance.choice(words)}.{chance.choice(words)}",
            chance.choice("uvw"),
            chance.choice(
                [{"k": chance.choice([1, True, 1.0, "x", 2, None, [1]]), "n": chance.randrange(10)}, 5, None]
            ),
            chance.choice(["", "a.b", "b.b.c"]),
        )
        await dispatcher.dispatch(event)
        for name, (selection, found) in live.items():
            assert (found[-1:] == [event.id]) is selection.matches(event), (name, event)


async def test_a_handler_that_raises_hurts_nobody_else():
    """It is counted and told, and others get the event; so do later events reach it."""
    seen, told = [], []

    def broken(event):
        raise ValueError("no")

    async def broken_later(event):
        raise KeyError("no")

    async def cancelled(event):
        raise asyncio.CancelledError

    def report(subscription, event, error):
        told.append((subscription.name, type(error).__name__))
        raise RuntimeError("the callback is broken too")

    async with EventDispatcher(on_error=report) as dispatcher:
        for name, handler in (("a", broken), ("b", broken_later), ("c", cancelled), ("d", seen.append)):
            dispatcher.subscribe(name, handler)
        await dispatcher.dispatch_many([Event("x", "s"), Event("y", "s")])
        await dispatcher.drain()
        errors = {found.name: found.handler_errors for found in dispatcher.subscriptions}

    assert [event.type for event in seen] == ["x", "y"]
    assert errors == {"a": 2, "b": 2, "c": 2, "d": 0}
    assert sorted(set(told)) == [("a", "ValueError"), ("b", "KeyError"), ("c", "RuntimeError")]


async def test_a_filter_that_does_not_compile_is_refused_at_once():
    """And nothing of the subscription stays."""
    dispatcher = EventDispatcher()

    with pytest.raises(FilterInvalid, match="line 1, column 14"):
        dispatcher.subscribe("bad", print, filter="data.amount >>")
    with pytest.raises(FilterInvalid):
        dispatcher.subscribe("bad", print, type="order.>.x")

    assert dispatcher.subscriptions == ()


async def test_a_filter_that_always_raises_is_switched_off_with_an_event():
    """After so many times in a row; one that raises now and then stays, and others see that event."""
    told, seen = [], []

    def moody(event):
        if event.data["number"] % 3:
            raise ValueError
        return True

    async with EventDispatcher(filter_failures=5, on_error=lambda *_: None) as dispatcher:
        broken = dispatcher.subscribe("broken", print, filter="1 / data.zero == 1")
        dispatcher.subscribe("moody", seen.append, type="x", filter=moody)
        dispatcher.subscribe("told", told.append, type=EventType.SUBSCRIPTION_DISABLED)
        for number in range(9):
            await dispatcher.dispatch(Event("x", "s", {"zero": 0, "number": number}))
        metrics = dispatcher.metrics()

    assert broken.filter_errors == 5
    assert "ZeroDivisionError 5 times" in broken.disabled
    assert [event.data for event in told] == [
        {"subscription": "broken", "reason": broken.disabled, "errors": 5}
    ]
    assert [event.data["number"] for event in seen] == [0, 3, 6]
    assert (metrics.filter_errors, metrics.disabled, metrics.subscriptions) == (11, 1, 3)


async def test_what_cannot_be_decided_is_no_match_and_counted():
    """A missing key never switches a subscription off."""
    seen = []
    dispatcher = EventDispatcher(filter_failures=2)
    found = dispatcher.subscribe("large", seen.append, filter="data.amount > 1")

    await dispatcher.dispatch_many([Event("x", "s", {}) for _ in range(10)])
    await dispatcher.dispatch(Event("x", "s", {"amount": 2}))

    assert (found.undecided, found.filter_errors, found.disabled, len(seen)) == (10, 0, "", 1)


async def test_subscriptions_come_and_go_while_events_are_handed_out():
    """One that is closed by a handler gets nothing of the very same event; `async with` ends one."""
    seen = []
    dispatcher = EventDispatcher()
    second = None

    def first(event):
        second.close()

    dispatcher.subscribe("first", first)
    second = dispatcher.subscribe("second", seen.append)
    await dispatcher.dispatch(Event("x", "s"))
    async with dispatcher.subscribe("third", seen.append):
        await dispatcher.dispatch(Event("y", "s"))
    await dispatcher.dispatch(Event("z", "s"))

    assert [event.type for event in seen] == ["y"]
    assert [found.name for found in dispatcher.subscriptions] == ["first"]
    assert dispatcher.metrics().deliveries == 4


async def test_a_slow_handler_holds_up_who_dispatches():
    """With `wait` nothing is lost, and the order stays."""
    go, seen = asyncio.Event(), []

    async def slow(event):
        await go.wait()
        seen.append(event.data)

    async with EventDispatcher() as dispatcher:
        dispatcher.subscribe("slow", slow, buffer_size=2)
        sending = asyncio.create_task(
            dispatcher.dispatch_many(Event("x", "s", number) for number in range(50))
        )
        for _ in range(10):
            await asyncio.sleep(0)
        held_up = not sending.done()
        waiting = dispatcher.metrics().waiting
        go.set()
        await sending
        await dispatcher.drain()

    assert held_up
    assert waiting == 2
    assert seen == list(range(50))


async def test_a_stream_keeps_the_newest_and_counts_what_it_dropped():
    """Reading takes out, looking does not; after its end what waits can still be read."""
    dispatcher = EventDispatcher()
    stream = dispatcher.create_stream("recent", type="x", buffer_size=3)
    await dispatcher.dispatch_many([Event("x", "s", number) for number in range(10)])

    assert stream.dropped == 7
    assert [event.data for event in stream.recent(2)] == [8, 9]
    assert (await stream.next()).data == 7
    stream.close()
    assert [event.data async for event in stream] == [8, 9]
    assert dispatcher.metrics().dropped == 7


async def test_a_stream_that_waits_loses_nothing():
    """Who dispatches goes on as soon as somebody reads."""
    async with EventDispatcher() as dispatcher:
        stream = dispatcher.create_stream("all", buffer_size=2, overflow="wait")
        sending = asyncio.create_task(
            dispatcher.dispatch_many(Event("x", "s", number) for number in range(20))
        )
        found = [(await stream.next()).data for _ in range(20)]
        await sending

    assert found == list(range(20))
    assert stream.dropped == 0


async def test_a_handler_cannot_wait_for_itself():
    """Dispatching to one's own full buffer is an error instead of a standstill."""
    errors = []

    async with EventDispatcher(on_error=lambda _, __, error: errors.append(type(error))) as dispatcher:

        async def again(event):
            for _ in range(3):
                await dispatcher.dispatch(Event("y", "s"))

        dispatcher.subscribe("again", again, type="*", buffer_size=1)
        await dispatcher.dispatch(Event("x", "s"))
        async with asyncio.timeout(5):
            while Backpressure not in errors:
                await asyncio.sleep(0)
        dispatcher.subscription("again").close()


async def test_names_are_unique_and_a_closed_dispatcher_takes_nothing():
    """Each misuse is an error that says so."""
    dispatcher = EventDispatcher()
    dispatcher.subscribe("a", print)

    with pytest.raises(Conflict):
        dispatcher.create_stream("a")
    with pytest.raises(UsageError, match="handler"):
        dispatcher.subscribe("b")
    with pytest.raises(UsageError, match="nothing that can happen"):
        dispatcher.create_stream("b", overflow="explode")
    await dispatcher.close()
    with pytest.raises(UsageError, match="closed"):
        await dispatcher.dispatch(Event("x", "s"))
    with pytest.raises(UsageError, match="closed"):
        dispatcher.subscribe("c", print)
