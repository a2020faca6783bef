"""Events in one process: how many a second reach 100 subscriptions, how soon, and what expressions cost.

The baseline asks ten functions about each event, one after the other, and calls one handler, on the same loop.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.options import Options
from benchmarks.table import Row, medians
from mas_core.events.dispatcher import EventDispatcher
from mas_core.events.store import EventStore
from mas_core.model.event import Event

TYPES = [f"orders.{word}" for word in ("created", "paid", "packed", "sent", "lost", "found", "back", "kept")]
TOPICS = [f"shop.{region}" for region in ("eu", "us", "asia", "africa", "south")]
RATE = 50_000
TICK_S = 0.001
EXPRESSION = 'data.amount > 500 && type == "orders.paid" && data.region.startsWith("r1")'


async def measure(options: Options) -> list[Row]:
    """Throughput, delay at a fixed rate, expressions, and what the store takes."""
    events = _events(options.count(100_000, 2_000))
    rounds = [await _throughput(events) for _ in range(options.rounds)]
    delays = [await _delays(options.count(2 * RATE, 1_000)) for _ in range(options.rounds)]
    expressions = [await _expression(events[: options.count(20_000, 500)]) for _ in range(options.rounds)]
    stored = [await _stored(options.count(20_000, 200)) for _ in range(options.rounds)]
    return [
        Row(
            "events dispatched in process to 100 subscriptions by type, topic and field",
            "at least 200,000",
            [item["events a second"] for item in rounds],
            "events/s",
            at_least=200_000,
            figures=medians(rounds),
            note="the baseline asks ten functions and knows no index, no counts and no failing handler",
        ),
        Row(
            "dispatch of events in process at 50,000 a second, p95 until the handler",
            "at most 2 ms",
            [item["p95 ms"] for item in delays],
            "ms",
            at_most=2.0,
            figures=medians(delays),
            note="ten functions and ten coroutines of 100 subscriptions have each event; bursts of 50",
        ),
        Row(
            "a filter that is an expression (CEL), for each event that it is asked about",
            "",
            [item["us an event"] for item in expressions],
            "us",
            figures=medians(expressions),
        ),
        Row(
            "events kept in SQLite, flushed to disk",
            "",
            [item["events a second"] for item in stored],
            "events/s",
            figures=medians(stored),
            note="a thousand appends wait at the same time",
        ),
    ]


def _events(count: int) -> list[Event]:
    chance = random.Random(1)  # noqa: S311
    return [
        Event(
            chance.choice(TYPES),
            f"source-{chance.randrange(100)}",
            {"region": f"r{chance.randrange(20)}", "amount": chance.randrange(1000), "id": number},
            chance.choice(TOPICS),
        )
        for number in range(count)
    ]


def _subscribe(dispatcher: EventDispatcher, handler: Callable[[Event], object]) -> None:
    """A hundred subscriptions of five kinds."""
    for number in range(20):
        kind, topic, region = TYPES[number % len(TYPES)], TOPICS[number % len(TOPICS)], f"r{number}"
        dispatcher.subscribe(handler=handler, type=kind, topic=topic, filter={"data.region": region})
        dispatcher.subscribe(
            handler=handler,
            type="orders.*",
            topic=topic,
            filter={"data.region": region, "data.amount": {"ge": 500}},
        )
        dispatcher.subscribe(handler=handler, type=kind, filter={"data.amount": {"gt": 990}})
        dispatcher.subscribe(
            handler=handler, topic="shop.>", source=f"source-{number}", filter={"data.amount": {"lt": 10}}
        )
        dispatcher.subscribe(handler=handler, type="refunds.>", topic=topic)


async def _throughput(events: list[Event]) -> dict[str, float]:
    reached = 0

    def count(_event: Event) -> None:
        nonlocal reached
        reached += 1

    async with EventDispatcher() as dispatcher:
        _subscribe(dispatcher, count)
        began = time.perf_counter()
        await dispatcher.dispatch_many(events)
        took = time.perf_counter() - began
        began = time.perf_counter()
        for event in events:
            await dispatcher.dispatch(event)
        one_by_one = time.perf_counter() - began
    baseline = await _baseline(events)
    assert reached
    return {
        "events a second": len(events) / took,
        "one by one": len(events) / one_by_one,
        "loop over ten functions": len(events) / baseline,
        "handlers an event": reached / len(events) / 2,
    }


async def _baseline(events: list[Event]) -> float:
    seen: list[str] = []
    filters = [_ask(TYPES[number % len(TYPES)], TOPICS[number % len(TOPICS)]) for number in range(10)]

    async def dispatch(event: Event) -> None:
        for wanted in filters:
            if wanted(event):
                seen.append(event.id)  # noqa: PERF401 - it stands for a handler

    began = time.perf_counter()
    for event in events:
        await dispatch(event)
    return time.perf_counter() - began


def _ask(kind: str, topic: str) -> Callable[[Event], bool]:
    return lambda event: (
        event.type == kind and event.topic == topic and event.data["amount"] > 500  # type: ignore[index]
    )


async def _delays(count: int) -> dict[str, float]:
    waited: list[float] = []

    def now(event: Event) -> None:
        waited.append(time.perf_counter() - event.data)  # type: ignore[operator]

    async def later(event: Event) -> None:
        waited.append(time.perf_counter() - event.data)  # type: ignore[operator]

    async with EventDispatcher() as dispatcher:
        for number in range(100):
            dispatcher.subscribe(handler=now if number % 2 else later, type=f"orders.{number // 20}")
        burst = max(1, int(RATE * TICK_S))
        chance = random.Random(2)  # noqa: S311
        began = time.perf_counter()
        sent = 0
        while sent < count:
            due = began + sent / RATE
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            for _ in range(min(burst, count - sent)):
                # A tenth of all goes to ten functions and ten coroutines each; nobody wants the rest.
                number = chance.randrange(50)
                await dispatcher.dispatch(Event(f"orders.{number}", "bench", time.perf_counter()))
                sent += 1
        took = time.perf_counter() - began
        await dispatcher.drain()
    cuts = statistics.quantiles(waited, n=100)
    return {
        "p50 ms": cuts[49] * 1000,
        "p95 ms": cuts[94] * 1000,
        "p99 ms": cuts[98] * 1000,
        "events a second": sent / took,
        "handlers a second": len(waited) / took,
    }


async def _expression(events: list[Event]) -> dict[str, float]:
    async with EventDispatcher() as dispatcher:
        found = dispatcher.subscribe(handler=lambda _event: None, filter=EXPRESSION)
        began = time.perf_counter()
        await dispatcher.dispatch_many(events)
        took = time.perf_counter() - began
    assert found.undecided == found.filter_errors == 0
    return {"us an event": took / len(events) * 1e6, "matches": found.delivered}


async def _stored(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with EventStore(Path(folder) / "events.sqlite") as store:
            events = _events(count)
            began = time.perf_counter()
            for first in range(0, count, 1_000):
                await asyncio.gather(*(store.append(event) for event in events[first : first + 1_000]))
            took = time.perf_counter() - began
            began = time.perf_counter()
            read = [seq async for seq, _ in store.query()]
            again = time.perf_counter() - began
    assert len(read) == count
    return {"events a second": count / took, "read a second": count / again}
