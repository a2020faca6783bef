"""What producers and workers of all peers share; it runs in their environments and needs Python only."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

AT_ONCE = 100
"""Messages that a producer has under way, as many as the pipelines of the plain baseline hold."""
_NOTE = "agents exchange messages through a bus that carries and delivers every one of them, and " * 4


@dataclass
class Job:
    """What to do."""

    url: str
    name: str
    """Of the queue, subject or stream: another one each time."""
    count: int
    size: int = 300
    rate: float = 0.0
    """Messages a second; 0 for as many as go."""

    def messages(self) -> Iterator[dict[str, Any]]:
        """The messages, each with the time at which it is taken from here."""
        for number in range(self.count):
            head = {"number": number, "sent": time.monotonic_ns(), "task": "summarise", "pages": 12}
            room = self.size - len(json.dumps({**head, "note": ""}))
            yield {**head, "note": _NOTE[: max(0, room)]}


def job() -> Job:
    """The job in the arguments of this process."""
    return Job(**json.loads(sys.argv[2]))


def say(line: str) -> None:
    """A line for the harness."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Tally:
    """What a worker handled; it reports when all came."""

    def __init__(self, job: Job) -> None:
        self._count = job.count
        self._times: dict[int, int] = {}

    def note(self, message: dict[str, Any]) -> None:
        """One message was handled."""
        now = time.monotonic_ns()
        self._times.setdefault(message["number"], now - message["sent"])
        if len(self._times) == self._count:
            self._count = -1
            say("result " + json.dumps({"ended_ns": now, "times_ns": list(self._times.values())}))


def wait_for_start() -> None:
    """Say that the producer is ready, and wait for the word."""
    say("ready")
    sys.stdin.readline()


def produced(began_ns: int) -> None:
    """Everything was sent."""
    say("result " + json.dumps({"began_ns": began_ns}))


async def produce(job: Job, send: Callable[[dict[str, Any]], Awaitable[object]]) -> None:
    """Send all messages of a job, `AT_ONCE` under way, or each at its time."""
    wait_for_start()
    began = time.monotonic_ns()
    if job.rate:
        await _at_rate(job, send)
    else:
        messages = job.messages()

        async def sender() -> None:
            for message in messages:
                await send(message)

        await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    produced(began)


async def _at_rate(job: Job, send: Callable[[dict[str, Any]], Awaitable[object]]) -> None:
    under_way: set[asyncio.Task[object]] = set()
    began = time.monotonic()

    async def one(message: dict[str, Any]) -> object:
        return await send({**message, "sent": time.monotonic_ns()})

    for number, message in enumerate(job.messages()):
        while (ahead := began + number / job.rate - time.monotonic()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(one(message))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it is installed, as our own processes do."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def main(produce: Callable[[], None], work: Callable[[], None]) -> None:
    """Be what the first argument says."""
    {"produce": produce, "work": work}[sys.argv[1]]()
