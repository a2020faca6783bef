"""R20: high priority has plenty all the time; low gets its share, and no lane overtakes itself."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise
from typing import Any

from mas_core import Agent, AgentMessage
from tests.faults.cut_system import Ledger, cut_system
from tests.faults.outcome import Options, Outcome, Row

FAULT = "high priority saturated"
SENDERS = ("left", "right")
OF_A_ROUND = 1_000
"""Messages of each sender and lane that are there before the first is handled."""
TOGETHER = 50
PROMISED_SHARE = 0.05
LANES = (9, 1)


class Noting(Agent[Any]):
    """Notes the order in which handlers start."""

    ledger: Ledger

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.order: list[tuple[str, int, int]] = []

    async def on_message(self, message: AgentMessage) -> object:
        """Note sender, priority and number."""
        self.ledger.handled[message.message_id] += 1
        self.order.append((message.sender_id, message.priority, message.data["n"]))
        return None


async def run(options: Options) -> Outcome:
    """Rounds of as many high as low messages, until so many have been handled."""
    outcome = Outcome("r20", FAULT)
    shares = []
    allow = [(sender, "worker") for sender in SENDERS]
    async with cut_system(*SENDERS, "worker", allow=allow) as system:
        senders = [await system.start_client(sender) for sender in SENDERS]
        worker = await system.start_agent("worker", Noting)
        first = 0
        while outcome.runs < options.runs:
            worker.order.clear()
            worker._dispatch.hold()
            for at in range(first, first + OF_A_ROUND, TOGETHER):
                payloads = [{"n": number} for number in range(at, at + TOGETHER)]
                ids = [f"m-{next(system._numbers)}" for _ in range(len(senders) * len(LANES) * TOGETHER)]
                answers = [
                    sender.send_many(
                        "worker", "load.item", payloads, priority=lane,
                        message_ids=[ids.pop() for _ in payloads],
                    )
                    for sender in senders
                    for lane in LANES
                ]  # fmt: skip
                for receipts in await asyncio.gather(*answers):
                    system.ledger.acknowledged |= {
                        item.message_id for item in receipts if item.decision.is_delivered
                    }
            first += OF_A_ROUND
            total = OF_A_ROUND * len(SENDERS) * len(LANES)
            worker._dispatch.resume()
            async with asyncio.timeout(120):
                while len(worker.order) < total:
                    await asyncio.sleep(0.01)
            shares.append(_check(worker.order, outcome))
            outcome.runs += total
        await system.finish(outcome)
    outcome.figures["least share of low"] = min(shares)
    outcome.notes = f"low got at least {min(shares):.1%}; promised are {PROMISED_SHARE:.0%}"
    return outcome


def _check(order: list[tuple[str, int, int]], outcome: Outcome) -> float:
    """The share of low while there was high; messages out of order are violations."""
    ways = defaultdict(list)
    for sender, priority, number in order:
        ways[sender, priority].append(number)
    outcome.broken += sum(after < before for numbers in ways.values() for before, after in pairwise(numbers))
    last_high = max(at for at, (_, priority, _) in enumerate(order) if priority == LANES[0])
    share = sum(priority == LANES[1] for _, priority, _ in order[:last_high]) / last_high
    if share < PROMISED_SHARE:
        outcome.broken += 1
        outcome.offending.append(f"low got {share:.1%}")
    return share


ROWS = [Row("r20", FAULT, run, full=1_000_000, slice=8_000)]
