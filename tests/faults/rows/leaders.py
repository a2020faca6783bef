"""R14: leaders are paused past their lease, cut off and killed; nobody writes in an old term."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from mas_core import Agent, AgentMessage, MasError
from mas_core.model.policy import PolicyDocument, Rule
from mas_core.security.policy_changes import add_rule
from tests.faults.candidates import REGISTER
from tests.faults.cut_system import password_of
from tests.faults.linearizability import UNKNOWN, Operation, is_linearizable
from tests.faults.outcome import Options, Outcome, Row, percentile
from tests.faults.proxy import Proxy
from tests.faults.server import Server
from tests.faults.zygote import Process, Zygote
from tests.support.systems import live_system

FAULT = "leaders paused past their lease, cut off, killed"
CANDIDATES = ("one", "two", "three")
GROUPS = tuple(f"g{number}" for number in range(12))
LEASE_S = 1.0
READ_PAUSE_S = 0.1
NEW_LEADER_S = LEASE_S + 2
"""How long a group may be without a leader after it lost one."""


class Register(Agent[Any]):
    """Holds a value for each group and notes the terms in which it was written."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.values: dict[str, str] = {}
        self.terms: dict[str, list[int]] = defaultdict(list)

    @Agent.on("write")
    async def write(self, message: AgentMessage) -> dict[str, object]:
        """Take a value."""
        group = str(message.data["group"])
        self.values[group] = str(message.data["value"])
        self.terms[group].append(int(str(message.data["term"])))
        return {}

    @Agent.on("read")
    async def read(self, message: AgentMessage) -> dict[str, object]:
        """Tell the value."""
        return {"value": self.values.get(str(message.data["group"]))}


async def run(options: Options) -> Outcome:
    """Take the leader of several groups away, let others follow, and bring it back."""
    outcome = Outcome("r14", FAULT)
    server, zygote = Server(options.folder / "server"), Zygote()
    await server.start()
    await zygote.start()
    try:
        with contextlib.ExitStack() as proxies:
            await _run(options, outcome, server, zygote, proxies)
    finally:
        await zygote.stop()
        await server.stop()
    return outcome


async def _run(
    options: Options, outcome: Outcome, server: Server, zygote: Zygote, proxies: contextlib.ExitStack
) -> None:
    chance = random.Random(options.seed)
    async with live_system(server.url, agents=[*CANDIDATES, REGISTER, "reader"]) as system:

        def permit(document: PolicyDocument) -> PolicyDocument:
            for name in CANDIDATES:
                document = add_rule(document, Rule("", "allow", name, "leader:>"))
                document = add_rule(document, Rule("", "allow", name, REGISTER))
            return add_rule(document, Rule("", "allow", "reader", REGISTER))

        await system.system.policy.change(permit)
        register = await system.run(REGISTER, Register)
        reader = await system.client("reader")
        reads: list[tuple[str, Operation]] = []
        reading = asyncio.create_task(_read(reader, reads))
        links: dict[str, Proxy] = {}
        processes: dict[str, Process] = {}

        async def start(name: str) -> None:
            processes[name] = await zygote.spawn(
                "tests.faults.candidates:candidate", options.folder, options.folder / f"{name}.log",
                id=name, url=links[name].url(password_of(server.url)), token=system.tokens[name],
                namespace=system.store.namespace, partitions=system.store.partitions,
                groups=GROUPS, lease=LEASE_S, ledger=str(options.folder / f"{name}.ledger"),
            )  # fmt: skip

        for name in CANDIDATES:
            links[name] = proxies.enter_context(Proxy(server.socket_path))
            await start(name)
        await _all_led(system, "")
        while outcome.runs < options.runs:
            leaders = await _leaders(system)
            victim = chance.choice(sorted(set(leaders.values())))
            led = [group for group, leader in leaders.items() if leader == victim]
            began = time.monotonic()
            how = chance.choice(("pause", "pause", "cut", "kill"))
            if how == "pause":
                processes[victim].signal(signal.SIGSTOP)
            elif how == "cut":
                links[victim].freeze()
            else:
                await processes[victim].kill()
            outcome.recovery_ms += await _followed(system, led, victim, began)
            await asyncio.sleep(chance.uniform(0, 0.3))
            if how == "pause":
                processes[victim].signal(signal.SIGCONT)
            elif how == "cut":
                links[victim].thaw()
            else:
                await start(victim)
            outcome.runs += len(led)
            await asyncio.sleep(chance.uniform(0.1, 0.5))
        for process in processes.values():
            await process.kill()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        _judge(outcome, register, reads, options.folder)
        if not await system.audit_holds():
            outcome.unaudited += 1


async def _read(reader: Any, reads: list[tuple[str, Operation]]) -> None:
    while True:
        for group in GROUPS:
            called = time.monotonic_ns()
            with contextlib.suppress(MasError):
                reply = await reader.request(REGISTER, "read", {"group": group}, timeout=5)
                value = reply.data["value"]
                reads.append((group, Operation(called, time.monotonic_ns(), is_write=False, value=value)))
        await asyncio.sleep(READ_PAUSE_S)


async def _leaders(system: Any) -> dict[str, str]:
    from mas_core.ops import leaders

    return {group.name: group.leader for group in await leaders.groups(system.system) if group.leader}


async def _all_led(system: Any, but: str) -> None:
    async with asyncio.timeout(60):
        while True:
            leaders = await _leaders(system)
            if len(leaders) == len(GROUPS) and but not in leaders.values():
                return
            await asyncio.sleep(0.05)


async def _followed(system: Any, groups: list[str], former: str, began: float) -> list[float]:
    """Milliseconds until each of these groups is led by somebody else."""
    took: dict[str, float] = {}
    async with asyncio.timeout(60):
        while len(took) < len(groups):
            leaders = await _leaders(system)
            for group in groups:
                if group not in took and leaders.get(group, former) != former:
                    took[group] = (time.monotonic() - began) * 1000
            await asyncio.sleep(0.02)
    return list(took.values())


def _judge(outcome: Outcome, register: Register, reads: list[tuple[str, Operation]], folder: Path) -> None:
    """Count stale writes, and check the history of every group."""
    histories: dict[str, list[Operation]] = defaultdict(list)
    for group, operation in reads:
        histories[group].append(operation)
    answered = refused = unknown = 0
    for name in CANDIDATES:
        for line in (folder / f"{name}.ledger").read_text().splitlines():
            kind, _, rest = line.partition(" ")
            if kind not in ("w", "x", "u"):
                continue
            group, called, returned, value, _ = rest.split()
            if kind == "x":
                refused += 1
                continue
            answered += kind == "w"
            unknown += kind == "u"
            ended = float(returned) if kind == "w" else UNKNOWN
            histories[group].append(Operation(float(called), ended, is_write=True, value=value))
    # One that was under way when its process was killed is in no ledger, but may have been read.
    for group, terms in register.terms.items():
        stale = sum(term < highest for term, highest in zip(terms, _highest(terms), strict=True))
        if stale:
            outcome.broken += stale
            outcome.offending.append(f"{group}: {stale} writes of an old term were taken")
    for group, history in histories.items():
        written = {operation.value for operation in history if operation.is_write}
        known = [item for item in history if item.is_write or item.value in written or item.value is None]
        if not is_linearizable(known):
            outcome.broken += 1
            outcome.offending.append(f"the history of {group} is not linearizable")
    slow = sum(milliseconds > NEW_LEADER_S * 1000 for milliseconds in outcome.recovery_ms)
    outcome.acknowledged = answered
    outcome.figures = {"refused": refused, "unknown": unknown, "reads": len(reads), "slow": slow}
    longest = (percentile(outcome.recovery_ms, 1.0) or 0) / 1000
    outcome.notes = f"{refused} of former leaders refused; new leader after {longest:.1f} s at most"


def _highest(terms: list[int]) -> list[int]:
    highest, found = 0, []
    for term in terms:
        highest = max(highest, term)
        found.append(highest)
    return found


ROWS = [Row("r14", FAULT, run, full=1_000, slice=12)]
