"""The sending side of a measurement: how many messages go out when, and when each was sent and confirmed."""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from mas_core.agent.client import Client
from mas_core.errors import Backpressure, MasError, UsageError
from mas_core.model.decision import Decision, Receipt

MESSAGE_TYPE = "bench.message"
BACKPRESSURE_PAUSE_S = 0.1
"""Time for a receiver to take a part of a full inbox; who comes back at once is mostly refused again."""
MAX_AGENTS = 1000
_WORDS = "agents exchange messages through a gateway that checks records and delivers every one of them "
_TEMPLATE: dict[str, object] = {
    "number": 0,
    "task": "summarise",
    "document": {"title": "Quarterly report", "pages": 12, "language": "en", "is_final": False},
    "tags": ["draft", "internal"],
    "score": 0.75,
}


class Load(msgspec.Struct, frozen=True):
    """How much is sent, and how."""

    count: int = 0
    """Messages; 0 for as many as go within `seconds`."""
    seconds: float = 0.0
    size: int = 300
    """Bytes of each payload, about."""
    rate: float = 0.0
    """Messages a second, each at its time; 0 for as many as go."""
    concurrency: int = 1024
    """Bursts that wait for their receipts at the same time."""
    burst: int = 1
    """Messages that one agent sends at once."""

    def check(self) -> None:
        """Refuse numbers that make no sense.

        Raises:
            UsageError: One does not.
        """
        if min(self.size, self.concurrency, self.burst) < 1 or min(self.count, self.rate, self.seconds) < 0:
            raise UsageError("size, concurrency and burst must be at least 1, and nothing may be negative")
        if not self.count and not self.seconds:
            raise UsageError("a run needs a count of messages or a time", hint="--count 10000, or --for 10s")


Work = Callable[[int, int], Awaitable[None]]
"""Sends the messages from the first number for so many."""


async def drive(load: Load, work: Work, on_progress: Callable[[int], None]) -> int:
    """Call `work` as the load says until everything was sent; how many messages that were."""
    started = 0
    done = 0
    ends_at = time.monotonic() + load.seconds if load.seconds else float("inf")

    def bursts() -> Iterator[tuple[int, int]]:
        nonlocal started
        while (not load.count or started < load.count) and time.monotonic() < ends_at:
            first = started
            started += min(load.burst, load.count - first) if load.count else load.burst
            yield first, started - first

    def note(count: int) -> None:
        nonlocal done
        done += count
        if done % 50 < count:
            on_progress(done)

    waiting = bursts()
    if load.rate:

        async def one(first: int, count: int) -> None:
            await work(first, count)
            note(count)

        await _at_rate(load, waiting, one)
    else:

        async def worker() -> None:
            for first, count in waiting:
                await work(first, count)
                note(count)

        await asyncio.gather(*(worker() for _ in range(load.concurrency)))
    return started


async def _at_rate(load: Load, waiting: Iterator[tuple[int, int]], one: Work) -> None:
    """Each burst at its own time, whether or not the ones before it are through."""
    room = asyncio.Semaphore(load.concurrency)

    async def released(first: int, count: int) -> None:
        try:
            await one(first, count)
        finally:
            room.release()

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for first, count in waiting:
            # Timers may go off a little early, so the last of the time is waited for once more.
            while (ahead := began + first / load.rate - time.monotonic()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(ahead)
            await room.acquire()
            group.create_task(released(first, count))


def payload(size: int) -> dict[str, object]:
    """A payload of about `size` bytes as JSON; each message gets its own `number`."""
    without_note = len(msgspec.json.encode({**_TEMPLATE, "number": 100_000, "note": ""}))
    if size < without_note:
        return {"number": 0, "note": _text(max(0, size - len('{"number":100000,"note":""}')))}
    return {**_TEMPLATE, "note": _text(size - without_note)}


def _text(length: int) -> str:
    return (_WORDS * (length // len(_WORDS) + 1))[:length]


@dataclass(slots=True)
class Sent:
    """What the sending side saw; times by message number in monotonic nanoseconds, 0 where there was none."""

    sent_ns: array[int] = field(default_factory=lambda: array("q"))
    receipt_ns: array[int] = field(default_factory=lambda: array("q"))
    refused: int = 0
    failed: int = 0
    """Neither confirmed nor refused: nobody knows."""
    cpu_s: float = 0.0

    @property
    def accepted(self) -> list[int]:
        """Numbers of the messages that the gateway took."""
        return [number for number, moment in enumerate(self.receipt_ns) if moment]


async def send_all(
    routes: Sequence[tuple[Client, str]],
    load: Load,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> Sent:
    """Send messages of `MESSAGE_TYPE` and wait for every receipt.

    Args:
        routes: Started clients, each with the agent that it sends to; they take turns.
        load: How much, and how.
        on_progress: Called now and then with the number of messages so far.
    """
    load.check()
    sent = Sent()
    template = payload(load.size)
    turns = itertools.cycle(routes)

    async def work(first: int, count: int) -> None:
        client, target = next(turns)
        for _ in range(count):
            sent.sent_ns.append(time.monotonic_ns())
            sent.receipt_ns.append(0)
        if count > 1:
            await together(client, target, range(first, first + count))
            return
        try:
            await send_patiently(client, target, {**template, "number": first})
            sent.receipt_ns[first] = time.monotonic_ns()
        except MasError as error:
            if "decision" in error.details:
                sent.refused += 1
            else:
                sent.failed += 1

    async def together(client: Client, target: str, numbers: Sequence[int]) -> None:
        while numbers:
            try:
                receipts = await client.send_many(
                    target, MESSAGE_TYPE, [{**template, "number": number} for number in numbers]
                )
            except MasError:
                sent.failed += len(numbers)
                return
            moment = time.monotonic_ns()
            waiting = []
            for number, receipt in zip(numbers, receipts, strict=True):
                if receipt.is_delivered:
                    sent.receipt_ns[number] = moment
                elif receipt.decision is Decision.BACKPRESSURE:
                    waiting.append(number)
                else:
                    sent.refused += 1
            numbers = waiting
            if numbers:
                await asyncio.sleep(BACKPRESSURE_PAUSE_S)

    cpu = time.process_time()
    await drive(load, work, on_progress)
    sent.cpu_s = time.process_time() - cpu
    return sent


async def send_patiently(client: Client, target: str, data: dict[str, object]) -> Receipt:
    """Send one message; where the gateway asks to wait, wait and send it again. Raises as `Client.send`."""
    while True:
        try:
            return await client.send(target, MESSAGE_TYPE, data)
        except Backpressure:
            # Nothing was taken, so nothing comes twice.
            await asyncio.sleep(BACKPRESSURE_PAUSE_S)
