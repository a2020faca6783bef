"""Tasks: assign them, look at them, cancel them, have them tried again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mas_core.agent.supervisor import NewTask, Supervisor, TaskStatus
from mas_core.agent.task_worker import DEFAULT_QUEUE
from mas_core.base.resources import check_resource
from mas_core.coordination.task import KIND, OPEN, Task, read_task
from mas_core.coordination.task_statistics import TaskStatistics, WorkerStatistics, statistics_of
from mas_core.errors import ResourceNotFound
from mas_core.ops.messages import connected
from mas_core.ops.resources import finished_record, open_record, open_records
from mas_core.ops.system import OPERATOR, System

__all__ = [
    "DEFAULT_QUEUE", "OPEN", "NewTask", "Supervisor", "Task", "TaskStatistics", "TaskStatus", "WorkerStatistics",
    "get_task", "list_tasks", "statistics", "supervisor",
]  # fmt: skip


@asynccontextmanager
async def supervisor(
    system: System, queue: str = DEFAULT_QUEUE, as_agent: str = OPERATOR
) -> AsyncIterator[Supervisor]:
    """Who assigns to a queue as an agent whose token is at hand.

    Raises:
        SecretUnavailable: It is not.
        GatewayDown: No gateway runs.
    """
    check_resource(KIND, queue)
    async with connected(system, as_agent) as client:
        yield Supervisor(client, queue)


async def list_tasks(
    system: System,
    *,
    queue: str = "",
    status: str = "",
    agent: str = "",
    task_type: str = "",
    since_ms: int = 0,
) -> list[Task]:
    """Tasks that are open or ended within the last hour, the oldest first.

    Args:
        system: The system.
        queue: Only of this one.
        status: Only in this state.
        agent: Only those that this agent works on, worked on last, or alone may take.
        task_type: Only of this type.
        since_ms: Only those assigned since then; Unix milliseconds.

    Raises:
        SecretUnavailable: The gateway's keys, under which records are sealed, are not at hand.
    """
    found = []
    async for _, record in open_records(system, KIND):
        task = read_task(record)
        if (
            (not queue or task.queue == queue)
            and (not status or task.status == status)
            and (not agent or agent in (task.worker, task.agent))
            and (not task_type or task.type == task_type)
            and task.created >= since_ms
        ):
            found.append(task)
    return sorted(found, key=lambda task: (task.created, task.id))


async def get_task(system: System, task_id: str, queue: str = "") -> Task:
    """One task; those that are over are kept for 30 days.

    Args:
        system: The system.
        task_id: Its id.
        queue: Where it is. Without it the default queue is looked at first, then all others, for tasks that are
            open or ended within the last hour.

    Raises:
        ResourceNotFound: There is none.
        SecretUnavailable: The gateway's keys, under which records are sealed, are not at hand.
    """
    name = f"{queue or DEFAULT_QUEUE}/{task_id}"
    record = await open_record(system, KIND, name)
    if record is not None:
        return read_task(record)
    if not queue:
        for task in await list_tasks(system):
            if task.id == task_id:
                return task
    record = await finished_record(system, KIND, name)
    if record is not None:
        return read_task(record)
    raise ResourceNotFound(
        f"there is no task {task_id}",
        hint=("mas task list", f"mas task get {task_id} --queue QUEUE"),
        resource=f"{KIND}:{queue or DEFAULT_QUEUE}",
    )


async def statistics(system: System, queue: str = "") -> TaskStatistics:
    """What the tasks tell that are open or ended within the last hour; of one queue, or of all."""
    return statistics_of(await list_tasks(system, queue=queue))
