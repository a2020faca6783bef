"""What runs in the processes of workers: they do tasks, take some time for it, and note what they begin and end.

A ledger has a line for each step: `b TASK ATTEMPT PID` when an attempt begins, `e TASK ATTEMPT PID` when its
handler has returned, which says nothing about whether the result was taken.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from mas_core import Agent, TaskInHand
from mas_core.base.event_loop import run
from mas_core.base.logs import log_to_stderr
from tests.faults.load import Ledger

TYPE = "work"
QUEUE = "default"


class Worker(Agent[Any]):
    """Does what it is told, for as long as it is told."""

    ledger: Ledger

    @Agent.task(TYPE)
    async def work(self, task: TaskInHand) -> dict[str, object]:
        """Take some time."""
        self.ledger.write("b", task.id, task.attempt, os.getpid())
        await asyncio.sleep(float(str(task.parameters["seconds"])))
        self.ledger.write("e", task.id, task.attempt, os.getpid())
        return {"attempt": task.attempt, "by": self.id}


def worker(arguments: dict[str, Any]) -> int:
    """Work until killed."""
    log_to_stderr()
    return run(_work(arguments)) or 0


async def _work(arguments: dict[str, Any]) -> None:
    agent = Worker(
        arguments["id"],
        redis_url=arguments["url"],
        token=arguments["token"],
        namespace=arguments["namespace"],
        partitions=arguments["partitions"],
        task_slots=arguments["slots"],
        task_lease=arguments["lease"],
    )
    agent.ledger = Ledger(arguments["ledger"])
    async with agent:
        await asyncio.Event().wait()
