"""Measures the scan in a running system: sensitive payloads among ordinary ones, and which were caught."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from mas_core.errors import MasError
from mas_core.ops.bench.cast import cast_of
from mas_core.ops.bench.figures import per_message_us, spread, use_of, use_since
from mas_core.ops.bench.load import Load, drive, payload, send_patiently
from mas_core.ops.bench.receiving import receiving
from mas_core.ops.bench.send import routes_of
from mas_core.ops.system import System

SENSITIVE_EVERY = 10
"""One message in so many holds a number of a payment card, taken from the documentation of card networks."""
CARD = " ".join(["4111", *["1111"] * 3])


@dataclass(frozen=True, slots=True)
class DlpResult:
    """The outcome of a run; times are from `send` until the receipt is back."""

    sent: int
    sensitive: int
    """Messages that held a card number."""
    caught: int
    """Of these, how many the gateway blocked, redacted or reported."""
    missed: int
    false_alarms: int
    """Ordinary messages with a finding."""
    failed: int
    seconds: float
    rate_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    gateway_cpu_us_per_message: float

    @property
    def is_complete(self) -> bool:
        """Whether every sensitive message was caught and no other."""
        return not (self.missed or self.false_alarms or self.failed)


async def dlp(
    system: System,
    load: Load,
    *,
    agents: int = 1,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> DlpResult:
    """Send ordinary payloads and some with a card number, and measure; arguments and errors as for `send`."""
    load.check()
    await system.require_gateway()
    times = array("q")
    sensitive = caught = false_alarms = failed = taken = 0
    ordinary = payload(load.size)
    async with (
        cast_of(system, agents) as cast,
        receiving(system, [(name, cast.tokens[name], ()) for name in cast.receivers]) as receivers,
        routes_of(system, cast) as routes,
    ):

        async def work(first: int, count: int) -> None:
            nonlocal sensitive, caught, false_alarms, failed, taken
            for number in range(first, first + count):
                client, target = routes[number % len(routes)]
                is_sensitive = number % SENSITIVE_EVERY == 0
                data = {**ordinary, "number": number}
                if is_sensitive:
                    sensitive += 1
                    data["payment"] = f"paid with card {CARD}"
                began = time.monotonic_ns()
                try:
                    receipt = await send_patiently(client, target, data)
                    taken += 1
                    has_finding = bool(receipt.findings)
                except MasError as error:
                    if "decision" not in error.details:
                        failed += 1
                        continue
                    has_finding = error.details["decision"] == "blocked"
                times.append(time.monotonic_ns() - began)
                caught += is_sensitive and has_finding
                false_alarms += has_finding and not is_sensitive

        before = await use_of(system)
        began = time.monotonic()
        sent = await drive(load, work, on_progress)
        seconds = time.monotonic() - began
        await receivers.report(taken)
        used = await use_since(system, before)
    found = spread(times)
    return DlpResult(
        sent,
        sensitive,
        caught,
        sensitive - caught,
        false_alarms,
        failed,
        round(seconds, 3),
        round(sent / seconds, 1),
        found.p50_ms,
        found.p95_ms,
        found.p99_ms,
        per_message_us(used.gateway_s, sent),
    )
