"""R16 for tasks: workers are killed while they work; every task is done, and once as far as anybody can tell."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from mas_core import NewTask, Supervisor
from mas_core.model.policy import PolicyDocument, Rule
from mas_core.ops import tasks
from mas_core.security.policy_changes import add_rule
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.server import Server
from tests.faults.task_workers import QUEUE, TYPE
from tests.faults.zygote import Process, Zygote
from tests.support.systems import live_system

FAULT = "kill -9 of workers in their tasks"
WORKERS = tuple(f"worker{number}" for number in range(6))
SLOTS = 4
LEASE_S = 1.0
TASKS_OF_A_KILL = 12
LONGEST_S = 0.2
PATIENCE_S = 60


async def run(options: Options) -> Outcome:
    """Kill a worker that has something in hand, start it again, and so on while tasks come."""
    outcome = Outcome("r16-tasks", FAULT)
    server, zygote = Server(options.folder / "server"), Zygote()
    await server.start()
    await zygote.start()
    try:
        await _run(options, outcome, server, zygote)
    finally:
        await zygote.stop()
        await server.stop()
    return outcome


async def _run(options: Options, outcome: Outcome, server: Server, zygote: Zygote) -> None:
    chance = random.Random(options.seed)
    async with live_system(server.url, agents=[*WORKERS, "boss"]) as system:

        def permit(document: PolicyDocument) -> PolicyDocument:
            for name in WORKERS:
                document = add_rule(document, Rule("", "allow", name, f"task:{QUEUE}", action="work"))
            return add_rule(document, Rule("", "allow", "boss", f"task:{QUEUE}", action="assign"))

        await system.system.policy.change(permit)
        boss = Supervisor(await system.client("boss"), QUEUE)
        processes: dict[str, Process] = {}

        async def start(name: str) -> None:
            processes[name] = await zygote.spawn(
                "tests.faults.task_workers:worker", options.folder, options.folder / f"{name}.log",
                id=name, url=server.url, token=system.tokens[name], namespace=system.store.namespace,
                partitions=system.store.partitions, slots=SLOTS, lease=LEASE_S,
                ledger=str(options.folder / f"{name}.ledger"),
            )  # fmt: skip

        for name in WORKERS:
            await start(name)
        assigned: list[str] = []
        while outcome.runs < options.runs:
            more = [
                NewTask(
                    type=TYPE,
                    parameters={"seconds": chance.uniform(0, LONGEST_S)},
                    max_attempts=100,
                    timeout=3600,
                )
                for _ in range(TASKS_OF_A_KILL)
            ]
            assigned += await boss.assign_all(more)
            await asyncio.sleep(chance.uniform(0.02, 0.15))
            busy = [name for name in WORKERS if _has_begun(options.folder, name)]
            if not busy:
                continue
            victim = chance.choice(busy)
            began = time.monotonic()
            await processes[victim].kill()
            await start(victim)
            outcome.runs += 1
            outcome.recovery_ms.append((time.monotonic() - began) * 1000)
        await _all_over(system.system, assigned)
        await _judge(outcome, system, assigned, options.folder)


def _has_begun(folder: Path, name: str) -> bool:
    """Whether the last thing that a worker has noted is that it begins something."""
    ledger = folder / f"{name}.ledger"
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return bool(lines) and lines[-1].startswith("b ")


async def _all_over(system: Any, assigned: list[str]) -> None:
    async with asyncio.timeout(PATIENCE_S + len(assigned) / 20):
        while any(task.is_open for task in await tasks.list_tasks(system)):
            await asyncio.sleep(0.5)


async def _judge(outcome: Outcome, system: Any, assigned: list[str], folder: Path) -> None:
    found = {task.id: task for task in await tasks.list_tasks(system.system)}
    ends: dict[str, list[int]] = defaultdict(list)
    for record in await system.audit(kind="message", type="task.finish"):
        if record.details.get("outcome") == "done":
            ends[str(record.details["task"])].append(int(str(record.details["attempt"])))
    begun: Counter[str] = Counter()
    for name in WORKERS:
        for line in (folder / f"{name}.ledger").read_text().splitlines():
            if line.startswith("b "):
                begun[line.split()[1]] += 1
    for task_id in assigned:
        task = found.get(task_id)
        if task is None or task.status != "done":
            outcome.lost += 1
            outcome.offending.append(f"{task_id} is {task.status if task else 'gone'}")
        elif len(ends[task_id]) != 1 or (task.result or {}).get("attempt") != ends[task_id][0]:
            outcome.duplicated += 1
            outcome.offending.append(f"{task_id} ended in attempts {ends[task_id]} with {task.result}")
    if not await system.audit_holds():
        outcome.unaudited += 1
    outcome.acknowledged = len(assigned)
    outcome.redelivered = sum(count - 1 for count in begun.values())
    again = sum(count > 1 for count in begun.values())
    outcome.notes = f"{len(assigned):,} tasks done, {again:,} of them begun more than once"


ROWS = [Row("r16-tasks", FAULT, run, full=1_000, slice=10)]
