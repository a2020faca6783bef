"""What the tasks of a queue tell of its workers: how many end well, how long they wait and take."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mas_core.coordination.task import Task


class WorkerStatistics(msgspec.Struct):
    """What one agent did."""

    running: int = 0
    done: int = 0
    failed: int = 0
    busy_s: float = 0.0
    """Seconds spent on tasks that are over, all instances together."""


class TaskStatistics(msgspec.Struct):
    """What is known of a queue: of the tasks that are open, and of those that ended within the last hour."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    completion_rate: float | None = None
    """Share of done among done and failed; None while there are none."""
    mean_wait_s: float | None = None
    """From the assignment to the beginning of the last attempt."""
    mean_execution_s: float | None = None
    """Of those that are done: from the beginning of the last attempt to its end."""
    workers: dict[str, WorkerStatistics] = {}


def statistics_of(tasks: Iterable[Task]) -> TaskStatistics:
    """What these tasks tell."""
    found = TaskStatistics()
    waits, executions = [], []
    for task in tasks:
        setattr(found, task.status, getattr(found, task.status) + 1)
        if task.started:
            waits.append(task.started - task.created)
        if not task.worker or task.status in ("waiting", "cancelled"):
            continue
        worker = found.workers.setdefault(task.worker, WorkerStatistics())
        setattr(worker, task.status, getattr(worker, task.status) + 1)
        if task.ended:
            worker.busy_s += (task.ended - task.started) / 1000
        if task.status == "done":
            executions.append(task.ended - task.started)
    ended = found.done + found.failed
    found.completion_rate = found.done / ended if ended else None
    found.mean_wait_s = sum(waits) / len(waits) / 1000 if waits else None
    found.mean_execution_s = sum(executions) / len(executions) / 1000 if executions else None
    return found
