"""Measures the way of messages through a running system, with everything on.

Two agents are made for the time of the run, with a rule that lets one send to the other and a limit that does
not stop them; no stage is switched off. The receiver is a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from mas_core.agent.client import Client
from mas_core.base.ids import new_instance_id
from mas_core.errors import AgentFailed, Backpressure, MasError, UsageError
from mas_core.model.policy import PolicyDocument, RateLimit, Rule
from mas_core.ops.agents import deregister, register
from mas_core.ops.system import System
from mas_core.security.policy_changes import add_rule, find_rule, remove_rule, set_limit

UNLIMITED = RateLimit(per_minute=1_000_000_000, per_hour=1_000_000_000)
MESSAGE_TYPE = "bench.message"
SETTLE_SECONDS = 10.0
BACKPRESSURE_PAUSE_S = 0.02
_WORDS = "agents exchange messages through a gateway that checks records and delivers every one of them "


class ReceiverLaunch(msgspec.Struct, frozen=True):
    """What the receiving process is told on its standard input."""

    url: str
    namespace: str
    partitions: int
    agent_id: str
    token: str
    messages: int


class ReceiverReport(msgspec.Struct, frozen=True):
    """What the receiving process saw: for each message when it was handled first, and what came twice."""

    handled_ns: list[int]
    """By message number: monotonic nanoseconds, 0 when it never came."""
    duplicated: int


@dataclass(frozen=True, slots=True)
class BenchResult:
    """The outcome of a run. Times are from `send` until the handler has started and the receipt is back."""

    sent: int
    handled: int
    refused: int
    lost: int
    duplicated: int
    seconds: float
    rate_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    handler_p50_ms: float
    """From `send` until the handler has started."""
    handler_p99_ms: float
    receipt_p50_ms: float
    """From `send` until the receipt is back."""
    receipt_p99_ms: float
    gateway_cpu_us_per_message: float
    sender_cpu_us_per_message: float


@dataclass(slots=True)
class _Run:
    messages: int
    sent_ns: array[int] = field(default_factory=lambda: array("q"))
    receipt_ns: array[int] = field(default_factory=lambda: array("q"))
    refused: int = 0

    def __post_init__(self) -> None:
        self.sent_ns = array("q", bytes(8 * self.messages))
        self.receipt_ns = array("q", bytes(8 * self.messages))


async def send(
    system: System,
    *,
    messages: int = 10_000,
    size: int = 300,
    rate: float = 0,
    concurrency: int = 1024,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> BenchResult:
    """Send messages from one agent to another and measure.

    Args:
        system: A running system; its keys must be at hand.
        messages: How many.
        size: Bytes of each payload, about.
        rate: Messages a second; 0 for as many as go.
        concurrency: Messages whose receipt is waited for at the same time.
        on_progress: Called now and then with the number of receipts so far.

    Raises:
        UsageError: A number makes no sense.
        GatewayDown: No gateway runs.
    """
    if min(messages, size, concurrency) < 1 or rate < 0:
        raise UsageError("messages, size and concurrency must be at least 1, and the rate not negative")
    await system.require_gateway()
    name = new_instance_id()[:6]
    sender, receiver = f"bench-{name}-sender", f"bench-{name}-receiver"
    tokens = [(await register(system, agent, show=True)).token for agent in (sender, receiver)]
    rule = Rule("", "allow", sender, receiver, type=MESSAGE_TYPE, reason="mas bench", by=system.actor)
    try:
        await system.policy.change(lambda document: set_limit(add_rule(document, rule), sender, UNLIMITED))
        return await _measure(
            system, sender, receiver, tokens, messages, size, rate, concurrency, on_progress
        )
    finally:
        await system.policy.change(lambda document: _without(document, rule, sender))
        for agent in (sender, receiver):
            with contextlib.suppress(MasError):
                await deregister(system, agent)


def _without(document: PolicyDocument, rule: Rule, sender: str) -> PolicyDocument:
    found = find_rule(document, rule)
    return set_limit(remove_rule(document, found.id) if found else document, sender, None)


async def _measure(
    system: System,
    sender: str,
    receiver: str,
    tokens: Sequence[str],
    messages: int,
    size: int,
    rate: float,
    concurrency: int,
    on_progress: Callable[[int], None],
) -> BenchResult:
    launch = ReceiverLaunch(
        system.target.url, system.store.namespace, system.store.partitions, receiver, tokens[1], messages
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mas_core.ops.bench_receiver",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )
    if process.stdin is None or process.stdout is None:
        raise AgentFailed("the receiving process has no pipes")
    try:
        process.stdin.write(msgspec.json.encode(launch) + b"\n")
        if await process.stdout.readline() != b"ready\n":
            raise AgentFailed("the receiving process did not start")
        run = _Run(messages)
        before = await _gateway_use(system)
        cpu = time.process_time()
        started = time.monotonic_ns()
        async with Client(system.store, sender, tokens[0]) as client:
            await _send_all(client, receiver, run, _text(size), rate, concurrency, on_progress)
        cpu = time.process_time() - cpu
        await asyncio.sleep(0.6)
        after = await _gateway_use(system)
        process.stdin.close()
        line = await asyncio.wait_for(process.stdout.readline(), SETTLE_SECONDS * 2)
        report = msgspec.json.decode(line, type=ReceiverReport)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await process.wait()
    return _result(run, report, started, before, after, cpu)


async def _send_all(
    client: Client,
    receiver: str,
    run: _Run,
    text: str,
    rate: float,
    concurrency: int,
    on_progress: Callable[[int], None],
) -> None:
    numbers = iter(range(run.messages))
    first = time.monotonic()
    done = 0

    async def work() -> None:
        nonlocal done
        for number in numbers:
            if rate:
                ahead = first + number / rate - time.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
            run.sent_ns[number] = time.monotonic_ns()
            try:
                await _send_one(client, receiver, {"number": number, "text": text})
                run.receipt_ns[number] = time.monotonic_ns()
            except MasError as error:
                run.refused += "decision" in error.details
            done += 1
            if done % 50 == 0:
                on_progress(done)

    await asyncio.gather(*(work() for _ in range(min(concurrency, run.messages))))


async def _send_one(client: Client, receiver: str, payload: dict[str, object]) -> None:
    while True:
        try:
            await client.send(receiver, MESSAGE_TYPE, payload)
        except Backpressure:
            # A full inbox asks the sender to wait; nothing was taken, so the message goes again.
            await asyncio.sleep(BACKPRESSURE_PAUSE_S)
        else:
            return


def _result(
    run: _Run,
    report: ReceiverReport,
    started_ns: int,
    before: tuple[int, float],
    after: tuple[int, float],
    sender_cpu_s: float,
) -> BenchResult:
    handled = sum(1 for moment in report.handled_ns if moment)
    accepted = [number for number in range(run.messages) if run.receipt_ns[number]]
    lost = sum(1 for number in accepted if not report.handled_ns[number])
    to_handler = sorted(
        report.handled_ns[number] - run.sent_ns[number] for number in accepted if report.handled_ns[number]
    )
    to_receipt = sorted(run.receipt_ns[number] - run.sent_ns[number] for number in accepted)
    whole = sorted(
        max(report.handled_ns[number], run.receipt_ns[number]) - run.sent_ns[number]
        for number in accepted
        if report.handled_ns[number]
    )
    last = max((*report.handled_ns, *run.receipt_ns, started_ns + 1))
    seconds = (last - started_ns) / 1e9
    through_gateway = max(1, after[0] - before[0])
    return BenchResult(
        sent=run.messages,
        handled=handled,
        refused=run.refused,
        lost=lost,
        duplicated=report.duplicated,
        seconds=round(seconds, 3),
        rate_per_s=round(handled / seconds, 1),
        p50_ms=_percentile(whole, 0.50),
        p95_ms=_percentile(whole, 0.95),
        p99_ms=_percentile(whole, 0.99),
        handler_p50_ms=_percentile(to_handler, 0.50),
        handler_p99_ms=_percentile(to_handler, 0.99),
        receipt_p50_ms=_percentile(to_receipt, 0.50),
        receipt_p99_ms=_percentile(to_receipt, 0.99),
        gateway_cpu_us_per_message=round((after[1] - before[1]) / through_gateway * 1e6, 1),
        sender_cpu_us_per_message=round(sender_cpu_s / run.messages * 1e6, 1),
    )


def _percentile(ordered_ns: Sequence[int], share: float) -> float:
    if not ordered_ns:
        return 0.0
    return round(ordered_ns[min(len(ordered_ns) - 1, int(len(ordered_ns) * share))] / 1e6, 3)


async def _gateway_use(system: System) -> tuple[int, float]:
    gateways = await system.gateways()
    return sum(item.messages for item in gateways), sum(item.cpu_s for item in gateways)


def _text(size: int) -> str:
    wanted = max(1, size - len('{"number":100000,"text":""}'))
    return (_WORDS * (wanted // len(_WORDS) + 1))[:wanted]
