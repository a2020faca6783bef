"""R17, for state: connections end at random bytes while handlers change it, and the server dies and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from typing import Any
from unittest.mock import patch

from mas_core import Agent, AgentMessage
from mas_core.errors import MasError
from mas_core.store import embedded_server
from tests.faults.cut_system import CutSystem, Ledger, cut_system, info
from tests.faults.outcome import Options, Outcome, Row

FAULT = "state cut at random bytes, server killed"
SENDERS = ("left", "right")
MOST_BYTES = 4_000
CUTS_OF_A_KILL = 20
KEPT = 200


class Keeper(Agent[Any]):
    """Keeps how many messages it took, their sum, and the last ids; every message changes it."""

    ledger: Ledger

    async def on_message(self, message: AgentMessage) -> None:
        """Take it into the state; only what is committed counts."""
        state = self.state
        number = int(message.message_id.removeprefix("m-"))
        await self.update_state(
            {
                "count": state.get("count", 0) + 1,
                "sum": state.get("sum", 0) + number,
                "last": [*state.get("last", []), message.message_id][-KEPT:],
            }
        )
        self.ledger.runs[message.message_id] += 1


async def run(options: Options) -> Outcome:
    """Cut, and now and then kill the server: from its log alone, or from a snapshot and its log."""
    outcome = Outcome("r17", FAULT)
    chance = random.Random(options.seed)
    allow = [(sender, "keeper") for sender in SENDERS]
    # It is killed more often than a server that crashes by itself would be started again.
    with patch.object(embedded_server, "FAST_CRASHES", options.runs):
        await _run(options, outcome, chance, allow)
    outcome.notes = (
        f"count, sum and last ids exact; bytes the same after {outcome.runs // CUTS_OF_A_KILL} kills"
    )
    return outcome


async def _run(
    options: Options, outcome: Outcome, chance: random.Random, allow: list[tuple[str, str]]
) -> None:
    async with cut_system(*SENDERS, "keeper", allow=allow, profile="durable") as system:
        senders = [await system.start_client(sender) for sender in SENDERS]
        await system.start_agent("keeper", Keeper)
        while outcome.runs < options.runs:
            stop = asyncio.Event()
            sending = [asyncio.create_task(_send(system, sender, stop)) for sender in senders]
            for _ in range(min(CUTS_OF_A_KILL, options.runs - outcome.runs)):
                drop = system.agent_side.drop_after(
                    chance.randrange(1, MOST_BYTES), to_server=chance.random() < 0.5
                )
                async with asyncio.timeout(60):
                    while not drop.made.is_set():
                        await asyncio.sleep(0.002)
                outcome.recovery_ms.append(await system.recovered_ms(time.monotonic()))
                outcome.runs += 1
            stop.set()
            await asyncio.gather(*sending)
            await _check(system, outcome)
            await _kill_server(system, outcome, from_snapshot=chance.random() < 0.5)
        for name, times in system.ledger.runs.items():
            # Runs that were thrown away because the state had changed are no second handling.
            system.ledger.handled[name] = min(times, 1)
        await system.finish(outcome)
    outcome.notes = (
        f"count, sum and last ids exact; bytes the same after {outcome.runs // CUTS_OF_A_KILL} kills"
    )
    return outcome


async def _send(system: CutSystem, sender: Any, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await system.send_until_known(sender, "keeper")
        await asyncio.sleep(0.002)


async def _check(system: CutSystem, outcome: Outcome) -> None:
    """The state is what the acknowledged messages come to, once all of them are settled."""
    store = system.live.store.agent("keeper")
    async with asyncio.timeout(120):
        while any((await store.backlog()).values()):
            await asyncio.sleep(0.02)
    numbers = [int(name.removeprefix("m-")) for name in system.ledger.acknowledged]
    _, text = await store.get_state()
    state = json.loads(text)
    expected = {"count": len(numbers), "sum": sum(numbers)}
    if {name: state[name] for name in expected} != expected or len(set(state["last"])) != len(state["last"]):
        outcome.broken += 1
        outcome.offending.append(f"the state is {state['count']}, {state['sum']}, and should be {expected}")


async def _kill_server(system: CutSystem, outcome: Outcome, *, from_snapshot: bool) -> None:
    """Byte for byte the same after the server has read it again."""
    connection = system.live.store.connection
    store = system.live.store.agent("keeper")
    before = await store.get_state()
    if from_snapshot:
        await connection.call("BGREWRITEAOF")
        async with asyncio.timeout(60):
            while (await info(connection))["aof_rewrite_in_progress"] != "0":
                await asyncio.sleep(0.01)
    os.kill(int((await info(connection))["process_id"]), signal.SIGKILL)
    async with asyncio.timeout(60):
        while True:
            try:
                after = await store.get_state()
                break
            except MasError:
                await asyncio.sleep(0.02)
    if after != before:
        outcome.broken += 1
        outcome.offending.append(f"revision {before[0]} came back as {after[0]}, or with other bytes")


ROWS = [Row("r17", FAULT, run, full=1_000, slice=20)]
