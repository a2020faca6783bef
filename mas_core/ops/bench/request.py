"""Measures requests through a running system: asked, answered, and whether each got its own answer."""

from __future__ import annotations

import itertools
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from mas_core.errors import MasError
from mas_core.ops.bench.cast import cast_of
from mas_core.ops.bench.figures import per_message_us, spread, use_of, use_since
from mas_core.ops.bench.load import Load, drive, payload
from mas_core.ops.bench.receiving import REQUEST_TYPE, receiving
from mas_core.ops.bench.send import routes_of
from mas_core.ops.system import System


@dataclass(frozen=True, slots=True)
class RequestResult:
    """The outcome of a run; times are from the question to its answer."""

    sent: int
    answered: int
    wrong: int
    """Got the answer to another question."""
    failed: int
    duplicated: int
    """Questions that were handled more than once."""
    seconds: float
    rate_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    gateway_cpu_us_per_message: float
    """For a question and its answer together."""
    server_cpu_us_per_message: float

    @property
    def is_complete(self) -> bool:
        """Whether every question was handled once and got its own answer."""
        return self.answered == self.sent and not self.wrong and not self.duplicated


async def request(
    system: System,
    load: Load,
    *,
    agents: int = 1,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> RequestResult:
    """Ask agents that answer, in a process of their own, and measure; arguments and errors as for `send`."""
    load.check()
    await system.require_gateway()
    times = array("q")
    wrong = failed = 0
    template = payload(load.size)
    async with (
        cast_of(system, agents) as cast,
        receiving(system, [(name, cast.tokens[name], ()) for name in cast.receivers]) as receivers,
        routes_of(system, cast) as routes,
    ):
        turns = itertools.cycle(routes)

        async def work(first: int, count: int) -> None:
            nonlocal wrong, failed
            client, target = next(turns)
            for number in range(first, first + count):
                began = time.monotonic_ns()
                try:
                    reply = await client.request(target, REQUEST_TYPE, {**template, "number": number})
                except MasError:
                    failed += 1
                    continue
                times.append(time.monotonic_ns() - began)
                wrong += reply.data.get("number") != number

        before = await use_of(system)
        began = time.monotonic()
        asked = await drive(load, work, on_progress)
        seconds = time.monotonic() - began
        report = await receivers.report(len(times))
        used = await use_since(system, before)
    found = spread(times)
    return RequestResult(
        asked,
        len(times),
        wrong,
        failed,
        report.duplicated,
        round(seconds, 3),
        round(len(times) / seconds, 1),
        found.p50_ms,
        found.p95_ms,
        found.p99_ms,
        per_message_us(used.gateway_s, asked),
        per_message_us(used.server_s, asked),
    )
