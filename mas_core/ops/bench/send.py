"""Measures the way of messages through a running system: sent, judged, delivered, handled, confirmed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from mas_core.agent.client import Client
from mas_core.ops.bench.cast import Cast, cast_of
from mas_core.ops.bench.figures import Spread, Use, per_message_us, spread, use_of, use_since
from mas_core.ops.bench.load import Load, Sent, send_all
from mas_core.ops.bench.receiving import ReceiverReport, receiving
from mas_core.ops.system import System


@dataclass(frozen=True, slots=True)
class SendResult:
    """The outcome of a run. Times without a name are until the handler has started and the receipt is back."""

    sent: int
    handled: int
    refused: int
    failed: int
    """Neither confirmed nor refused."""
    lost: int
    """Confirmed and never handled."""
    duplicated: int
    seconds: float
    rate_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    handler_p50_ms: float
    """From `send` until the handler has started."""
    handler_p95_ms: float
    handler_p99_ms: float
    receipt_p50_ms: float
    """From `send` until the receipt is back."""
    receipt_p95_ms: float
    receipt_p99_ms: float
    gateway_cpu_us_per_message: float
    sender_cpu_us_per_message: float
    receiver_cpu_us_per_message: float
    server_cpu_us_per_message: float

    @property
    def is_complete(self) -> bool:
        """Whether every message was handled once."""
        return self.handled == self.sent and not self.duplicated


async def send(
    system: System,
    load: Load,
    *,
    agents: int = 1,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> SendResult:
    """Send messages from agents to others, in a process of their own, and measure.

    Args:
        system: A running system; its keys must be at hand.
        load: How much, and how.
        agents: Pairs of sender and receiver.
        on_progress: Called now and then with the number of messages so far.

    Raises:
        UsageError: A number makes no sense.
        GatewayDown: No gateway runs.
    """
    load.check()
    await system.require_gateway()
    async with (
        cast_of(system, agents) as cast,
        receiving(system, [(name, cast.tokens[name], ()) for name in cast.receivers]) as receivers,
        routes_of(system, cast) as routes,
    ):
        before = await use_of(system)
        sent = await send_all(routes, load, on_progress)
        report = await receivers.report(len(sent.accepted))
        return result_of(sent, report, await use_since(system, before))


@asynccontextmanager
async def routes_of(system: System, cast: Cast) -> AsyncIterator[Sequence[tuple[Client, str]]]:
    """A started client for each sender, with its receiver."""
    async with AsyncExitStack() as stack:
        yield [
            (await stack.enter_async_context(Client(system.store, sender, cast.tokens[sender])), receiver)
            for sender, receiver in cast.pairs
        ]


def result_of(sent: Sent, report: ReceiverReport, used: Use) -> SendResult:
    """What sender and receiver saw, put together."""
    total = len(sent.sent_ns)
    handled_ns = report.handled_ns(total)
    accepted = sent.accepted
    arrived = [number for number in accepted if handled_ns[number]]
    handled = sum(1 for moment in handled_ns if moment)
    to_handler = spread(handled_ns[number] - sent.sent_ns[number] for number in arrived)
    to_receipt = spread(sent.receipt_ns[number] - sent.sent_ns[number] for number in accepted)
    whole: Spread = spread(
        max(handled_ns[number], sent.receipt_ns[number]) - sent.sent_ns[number] for number in arrived
    )
    first = min(sent.sent_ns, default=0)
    last = max((*handled_ns, *sent.receipt_ns, first + 1))
    seconds = (last - first) / 1e9
    through_gateway = max(total, used.messages)
    return SendResult(
        sent=total,
        handled=handled,
        refused=sent.refused,
        failed=sent.failed,
        lost=len(accepted) - len(arrived),
        duplicated=report.duplicated,
        seconds=round(seconds, 3),
        rate_per_s=round(handled / seconds, 1),
        p50_ms=whole.p50_ms,
        p95_ms=whole.p95_ms,
        p99_ms=whole.p99_ms,
        handler_p50_ms=to_handler.p50_ms,
        handler_p95_ms=to_handler.p95_ms,
        handler_p99_ms=to_handler.p99_ms,
        receipt_p50_ms=to_receipt.p50_ms,
        receipt_p95_ms=to_receipt.p95_ms,
        receipt_p99_ms=to_receipt.p99_ms,
        gateway_cpu_us_per_message=per_message_us(used.gateway_s, through_gateway),
        sender_cpu_us_per_message=per_message_us(sent.cpu_s, total),
        receiver_cpu_us_per_message=per_message_us(report.cpu_s, handled),
        server_cpu_us_per_message=per_message_us(used.server_s, total),
    )
