"""R12: messages whose handler raises, hangs or dies with its process, among others that must go on meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict

from mas_core.agent.client import Client
from mas_core.model.dead_letter import LetterFacts
from mas_core.ops import agents, dead_letters
from tests.faults.checker import Ledgers
from tests.faults.load import POISON
from tests.faults.outcome import Options, Outcome, Row, percentile
from tests.faults.world import Plan, World

FAULT = "poison: the handler raises, hangs, or its process dies"
CODES = {"raises": "handler_failed", "hangs": "handler_timed_out", "dies": "poison"}
ATTEMPTS = 3
RETRY_S = 5.0
"""All the rest between the attempts: one second, and four."""
HELD_UP_S = 5 * RETRY_S
"""What is promised; a limit for waiting, not a measurement."""


async def run(options: Options) -> Outcome:
    """Send one poison of each kind at a time, wait until all are dead letters, and retry each twice, cured."""
    outcome = Outcome("r12", FAULT)
    plan = Plan(receiver_processes=len(CODES), receivers=2, rate=200, failing=0)
    async with World(options, plan) as world:
        token = (await agents.register(world.system, "poisoner", show=True)).token
        async with Client(world.system.store, "poisoner", token) as client:
            restarting = asyncio.create_task(_restart_dead(world))
            try:
                for number in range(math.ceil(options.runs / len(CODES))):
                    await _round(world, outcome, client, number)
                    outcome.runs += len(CODES)
            finally:
                restarting.cancel()
        await world.finish(outcome)
        _judge_waiting(outcome, world.ledgers())
    return outcome


async def _restart_dead(world: World) -> None:
    """Start the processes again that a poison has ended, as a supervisor does."""
    while True:
        await asyncio.sleep(0.05)
        for group in world.receivers:
            if group.process is not None and not group.process.is_alive:
                world.killed_handlers.append(group.process.pid)
                await world.start_agents(group)


async def _round(world: World, outcome: Outcome, client: Client, number: int) -> None:
    sent = {}
    for at, how in enumerate(CODES):
        group = world.receivers[(number + at) % len(world.receivers)]
        target = world.chance.choice(list(group.arguments["agents"]))
        sent[(await client.send(target, POISON, {"how": how})).message_id] = how
    found: dict[str, tuple[str, LetterFacts]] = {}

    async def all_dead() -> bool:
        listed = await dead_letters.list_letters(world.system, dead_letters.Wanted(type=POISON))
        found.update(
            (one.facts.message_id, (one.id, one.facts))
            for one in listed.letters
            if one.facts.message_id in sent
        )
        return len(found) == len(sent)

    await world.until(all_dead, "the poison to become dead letters", 90)
    starts = _starts(world)
    for message_id, how in sent.items():
        letter, facts = found[message_id]
        history = [attempt.number for attempt in facts.history]
        seen = (facts.code, facts.attempts, history, starts[message_id].count(how))
        if seen != (CODES[how], ATTEMPTS, list(range(1, ATTEMPTS + 1)), ATTEMPTS):
            outcome.broken += 1
            outcome.offending.append(f"{message_id}, which {how}: {seen}")
        cured = {"how": "cured"}
        results = await asyncio.gather(
            *(dead_letters.retry(world.system, [letter], data=cured, wait_s=30) for _ in range(2))
        )
        if sum(one.error is None for (one,) in results) != 1:
            outcome.broken += 1
            outcome.offending.append(f"{message_id} retried twice: {results}")
    await world.until(
        lambda: all("cured" in _starts(world)[message_id] for message_id in sent), "the cured to be handled"
    )
    again = sum(_starts(world)[message_id].count("cured") - 1 for message_id in sent)
    outcome.broken += again
    outcome.offending += [f"{again} that were cured came again"] if again else []


def _starts(world: World) -> dict[str, list[str]]:
    """How each poison was handled each time that its handler began."""
    found = defaultdict(list)
    for group in world.receivers:
        for line in group.ledger.read_text(errors="replace").split("\n")[:-1]:
            if line.startswith("p "):
                _, message_id, _, _, how, _ = line.split(" ")
                found[message_id].append(how)
    return found


def _judge_waiting(outcome: Outcome, ledgers: Ledgers) -> None:
    """Nobody may wait long behind a poison, and nobody else may die of it."""
    first: dict[str, int] = {}
    for item in ledgers.handled:
        first[item.message_id] = min(item.time, first.get(item.message_id, item.time))
    waits = [
        max(0.0, (first[ack.message_id] - ack.acknowledged) / 1e9)
        for ack in ledgers.acks
        if ack.message_id in first
    ]
    longest = max(waits, default=0.0)
    outcome.figures["held_up_p99_s"] = round(percentile(waits, 0.99) or 0.0, 3)
    outcome.figures["held_up_s"] = round(longest, 3)
    outcome.notes = f"others held up for {longest:.1f} s at most"
    if longest > HELD_UP_S:
        outcome.broken += 1
        outcome.offending.append(f"a message waited for {longest:.1f} s behind a poison")
    innocent = int(outcome.figures["dead_letters"])
    if innocent:
        outcome.broken += innocent
        outcome.offending.append(f"{innocent} others ended as dead letters")


ROWS = [Row("r12", FAULT, run, full=300, slice=3)]
