"""R15: agents die or stand still; they count as gone a minute after their last heartbeat, not before it."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from mas_core.agent.client import Client
from mas_core.errors import NoResponder, RequestTimedOut
from mas_core.registry.registry import REGISTRATION_EXPIRY_MS
from tests.faults.cut_system import CutSystem, cut_system
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.zygote import Process, Zygote

FAULT = "agents killed, or stopped for 59 s"
LATEST_MS = 62_000
STOPPED_S = 59
ASK_EVERY_S = 0.25
EARLY_MS = 2_000
"""How long before a minute is over it is looked at whether they are still there."""


@dataclass
class Watched:
    """One agent under test."""

    name: str
    process: Process
    is_killed: bool
    gone_after_ms: float = 0.0


async def run(options: Options) -> Outcome:
    """All agents of a run at the same time: half are killed, half are stopped for just under a minute."""
    outcome = Outcome("r15", FAULT)
    names = [f"agent-{number}" for number in range(options.runs)]
    zygote = Zygote()
    allow = [("asker", name) for name in names]
    async with cut_system("asker", *names, allow=allow) as system:
        await zygote.start()
        try:
            asker = await system.start_client("asker")
            watched = [
                await _start(zygote, system, options, name, at % 2 == 0) for at, name in enumerate(names)
            ]
            await asyncio.gather(*(_watch(system, asker, item, outcome) for item in watched))
        finally:
            await zygote.stop()
    gone = [item.gone_after_ms for item in watched if item.is_killed]
    outcome.runs = len(watched)
    outcome.figures |= {"gone earliest, ms": min(gone), "gone latest, ms": max(gone)}
    outcome.notes = f"gone {min(gone) / 1000:.2f} to {max(gone) / 1000:.2f} s after the last heartbeat"
    return outcome


async def _start(zygote: Zygote, system: CutSystem, options: Options, name: str, is_killed: bool) -> Watched:
    ledger = options.folder / f"ledger-{name}.log"
    process = await zygote.spawn(
        "tests.faults.load:receive", options.folder, options.folder / f"{name}.log",
        {"AGENT_HEARTBEAT_INTERVAL": "5"}, agents={name: system.live.tokens[name]}, url=system.url,
        namespace=system.live.store.namespace, partitions=system.live.store.partitions, ledger=str(ledger),
    )  # fmt: skip
    async with asyncio.timeout(120):
        while not ledger.exists() or b"ready" not in ledger.read_bytes():
            await asyncio.sleep(0.05)
    return Watched(name, process, is_killed)


async def _watch(system: CutSystem, asker: Client, item: Watched, outcome: Outcome) -> None:
    if item.is_killed:
        await item.process.kill()
    else:
        item.process.signal(signal.SIGSTOP)
        await item.process.stopped.wait()
    last = await _last_heartbeat(system, item.name)

    async def age_ms() -> float:
        return await system.live.store.connection.time_ms() - last

    await asyncio.sleep(STOPPED_S - await age_ms() / 1000)
    if not item.is_killed:
        if not await _is_there(asker, item.name):
            _broken(outcome, f"{item.name} counted as gone within {STOPPED_S} s")
        item.process.signal(signal.SIGCONT)
        async with asyncio.timeout(30):
            while await _last_heartbeat(system, item.name) == last:
                await asyncio.sleep(0.1)
        await asyncio.sleep(LATEST_MS / 1000 - STOPPED_S)
        if not await _is_there(asker, item.name):
            _broken(outcome, f"{item.name} went on in time, and counted as gone")
        return
    while await _is_there(asker, item.name):
        if await age_ms() > 2 * LATEST_MS:
            break
        await asyncio.sleep(ASK_EVERY_S)
    item.gone_after_ms = await age_ms()
    if not REGISTRATION_EXPIRY_MS <= item.gone_after_ms <= LATEST_MS:
        _broken(outcome, f"{item.name} was gone {item.gone_after_ms} ms after its last heartbeat")


async def _last_heartbeat(system: CutSystem, name: str) -> int:
    """By the server's clock; 0 once it said goodbye."""
    return max((status.seen for status in (await system.live.system.registry.get(name)).instances), default=0)


async def _is_there(asker: Client, name: str) -> bool:
    """What the gateway says to somebody who asks the agent something that it does not answer."""
    try:
        await asker.request(name, "load.ask", {}, timeout=0.1)
    except NoResponder:
        return False
    except RequestTimedOut:
        return True
    except Exception:  # noqa: BLE001 - an answer of any kind is one
        return True
    return True


def _broken(outcome: Outcome, why: str) -> None:
    outcome.broken += 1
    outcome.offending.append(why)


ROWS = [Row("r15", FAULT, run, full=40, slice=0)]
