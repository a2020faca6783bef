"""A supervisor hands out tasks; workers crash in the middle of them, and each is done once all the same.

`python examples/supervisor/supervisor.py [AGENTS]` runs everything in this process; no server is needed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from mas_core import Agent, NewTask, Supervisor, TaskInHand

URL = "memory://supervisor"
NUMBERS = range(1, 13)
LEAVES_AT = 7
"""Whoever gets this number first goes away with it."""


class Worker(Agent):
    """Squares numbers, and does not always get through with it."""

    def __init__(self, name: str, *, may_leave: bool) -> None:
        super().__init__(name, redis_url=URL, task_slots=1)
        self.may_leave = may_leave
        self.leaving: asyncio.Task[bool] | None = None

    @Agent.task("number.square")
    async def square(self, task: TaskInHand) -> dict[str, object]:
        """Every fourth number makes its first attempt crash."""
        number = int(str(task.parameters["number"]))
        task.report(50, "half of it")
        await asyncio.sleep(0.05)
        if task.attempt == 1 and number % 4 == 0:
            raise RuntimeError("it does that")
        if task.attempt == 1 and number == LEAVES_AT and self.may_leave:
            self.leaving = asyncio.create_task(self.stop(drain_timeout=0))
            await asyncio.sleep(60)
        return {"square": number * number}


async def main(agents: int = 3, say: Callable[[str], object] = print) -> None:
    """Assign the tasks, let so many workers do them, and tell how each went."""
    async with AsyncExitStack() as stack:
        boss = await stack.enter_async_context(Agent("boss", redis_url=URL))
        supervisor = Supervisor(boss.client)
        ids = await supervisor.assign_all(
            [NewTask(type="number.square", parameters={"number": number}) for number in NUMBERS]
        )
        for place in range(1, agents + 1):
            worker = Worker(f"worker-{place}", may_leave=agents > 1)
            await stack.enter_async_context(worker)
        for number, task_id in zip(NUMBERS, ids, strict=True):
            result = await supervisor.result(task_id)
            attempt = (await supervisor.get(task_id)).attempt
            again = f"  in attempt {attempt}" if attempt > 1 else ""
            say(f"{number:>2} squared is {result['square']:>3}{again}")
        found = await supervisor.statistics()
    say(f"{found.done} tasks done, {found.failed} failed")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:2])))
