"""R9: the server's memory is full; what is there can be read and settled, and that heals it."""

from __future__ import annotations

import asyncio
import time

from mas_core import AgentMessage
from mas_core.agent.client import Client
from mas_core.errors import GatewayDown, MasError, StoreFull
from tests.faults.cut_system import CutSystem, Worker, cut_system, info
from tests.faults.outcome import Options, Outcome, Row

FAULT = "memory of the server full (noeviction)"
BYTES = 64 << 20
BYTES_OF_SLICE = 16 << 20
PAYLOAD = 8_000
TOGETHER = 50
"""Messages of a frame: more than are handled at a time, so that frames are settled in parts."""
SENDERS = ("left", "right")
HEALED_S = 5
"""What is promised; a limit for waiting, not a measurement."""


class SlowWorker(Worker):
    """Takes a moment for each, so that a frame is in parts of it settled."""

    async def on_message(self, message: AgentMessage) -> object:
        """Note it, and take a moment."""
        await asyncio.sleep(0.002)
        return await super().on_message(message)


async def run(options: Options) -> Outcome:
    """Fill it with what nobody takes, see sends refused, let the receiver take it, see sends accepted."""
    outcome = Outcome("r9", FAULT, runs=options.runs)
    async with cut_system(
        *SENDERS, "worker", allow=[(sender, "worker") for sender in SENDERS], profile="durable"
    ) as system:
        senders = [await system.start_client(sender) for sender in SENDERS]
        worker = await system.start_agent("worker", SlowWorker, max_in_flight=4)
        connection = system.live.store.connection
        size = BYTES_OF_SLICE if options.is_slice else BYTES
        for _ in range(options.runs):
            used = int((await info(connection))["used_memory"])
            await connection.call("CONFIG", "SET", "maxmemory", used + size)
            worker._dispatch.hold()
            refused = await asyncio.gather(*(_fill(system, sender) for sender in senders))
            if set(refused) != {StoreFull.code}:
                outcome.broken += 1
                outcome.offending.append(f"sends were refused as {refused}")
            # Buffers of clients and replicas may take it well over the limit.
            used = int((await info(connection))["used_memory"])
            await connection.call("CONFIG", "SET", "maxmemory", used - size // 8)
            before = len(system.ledger.acknowledged)
            worker._dispatch.resume()
            began = time.monotonic()
            while len(system.ledger.acknowledged) == before and time.monotonic() - began < 10 * HEALED_S:
                try:
                    await _send(system, senders[0], 0.5)
                except MasError:
                    await asyncio.sleep(0.02)
            outcome.recovery_ms.append((time.monotonic() - began) * 1000)
            if len(system.ledger.acknowledged) == before:
                outcome.broken += 1
                outcome.offending.append("it did not heal although its receiver took messages")
            await connection.call("CONFIG", "SET", "maxmemory", 0)
        await system.finish(outcome)
        if any((await system.live.store.agent("worker").backlog()).values()):
            outcome.broken += 1
            outcome.offending.append("handled messages are not settled")
    outcome.notes = f"{system.ledger.refused['store_full']} sends refused as store_full"
    return outcome


async def _send(system: CutSystem, sender: Client, timeout: float) -> None:
    payloads = [{"text": "x" * PAYLOAD}] * TOGETHER
    ids = [f"m-{next(system._numbers)}" for _ in payloads]
    receipts = await sender.send_many("worker", "load.item", payloads, message_ids=ids, timeout=timeout)
    system.ledger.acknowledged |= {item.message_id for item in receipts if item.decision.is_delivered}


async def _fill(system: CutSystem, sender: Client) -> str:
    """Send until it is refused for good; as what."""
    in_a_row = 0
    for _ in range(10_000):
        try:
            await _send(system, sender, 1)
        except GatewayDown:
            # The frame was taken and cannot be judged until there is room.
            continue
        except MasError as error:
            system.ledger.refused[error.code] += 1
            in_a_row += 1
            if in_a_row == 5:
                return error.code
        else:
            in_a_row = 0
    return "nothing"


ROWS = [Row("r9", FAULT, run, full=20, slice=1)]
