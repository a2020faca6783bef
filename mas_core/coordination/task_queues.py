"""Queues of tasks: assigned by some, taken by others, each given to one worker at a time.

Workers ask for tasks (they are not sent any), so none gets more than it has room for. A task stays with its
worker for a lease that the worker renews while it works; when that ends, the next attempt goes to somebody else,
and whatever the former worker says of it then is refused by the number of its attempt. A task is over once, with
one result, whatever happens to workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from graphlib import CycleError, TopologicalSorter

import msgspec

from mas_core.coordination.machine import Command, Refusal, Step
from mas_core.coordination.task import (
    KIND,
    MAX_DELEGATIONS,
    Assign,
    Beat,
    Finish,
    Leave,
    NewTask,
    OneTask,
    Take,
    Task,
    TaskError,
)
from mas_core.coordination.task_board import TaskBoard
from mas_core.coordination.task_statistics import statistics_of

MAX_TASKS = 100_000
"""Tasks of a partition, those included that are over and kept."""
MAX_BYTES = 256_000_000
"""Of the records of a partition's tasks; more are only taken when there is room again."""
LIST_LENGTH = 200

MayClaim = Callable[[str, str], bool]
"""Whether the policy lets an agent claim a capability."""


class TaskQueues:
    """Every queue of one partition.

    Args:
        may_claim: Whether the policy lets an agent claim a capability.
    """

    kind = KIND

    def __init__(self, may_claim: MayClaim) -> None:
        self._may_claim = may_claim
        self._board = TaskBoard({})

    def load(self, records: Mapping[str, bytes]) -> None:
        """Start from these records."""
        self._board = TaskBoard(records)

    def command(self, command: Command) -> Step:
        """Carry out a command.

        Raises:
            Refusal: `not_found`, `stale_attempt`, `exists`, `unknown_dependency`, `cyclic`, `over`, `invalid`,
                `too_many`.
        """
        match command.verb:
            case "assign":
                return self._assign(command)
            case "take":
                return self._take(command)
            case "beat":
                return self._beat(command)
            case "finish":
                return self._finish(command)
            case "leave":
                return self._leave(command)
            case "cancel":
                return self._cancel(command)
            case "retry":
                return self._retry(command)
            case "get":
                return self._get(command)
            case "list":
                return self._list(command)
            case "statistics":
                return self._statistics(command)
        raise Refusal("invalid", f"a queue of tasks knows no {KIND}.{command.verb}")

    def waiting(self) -> list[Command]:
        """Workers, and those who wait for the end of a task."""
        return self._board.waiters.all()

    def send_away(self, command: Command) -> Step:
        """A worker gets nothing; who follows a task is told how it stands."""
        if command.verb != "take":
            return self.command(command)
        step = Step()
        step.answer(command, {"tasks": []})
        return step

    def next_due(self) -> int:
        """When the next lease, deadline, pause or waiting ends."""
        return self._board.next_due()

    def tick(self, now: int) -> Step:
        """End what has run out."""
        step = Step()
        self._board.tick(step, now)
        return step

    # What assigners say.

    def _assign(self, command: Command) -> Step:
        step, new = Step(), command.read(Assign).tasks
        self._check_new(command, new)
        added = []
        for wanted in new:
            task = self._board.tasks.get(f"{command.resource}/{wanted.task_id}")
            if task is None:
                task = self._new_task(command, wanted)
                self._board.store(step, task)
                added.append(task)
        step.outcome = "assigned" if added else "exists"
        for task in added:
            self._board.file(task)
            self._board.settle_dependencies(step, task, command.now)
        self._board.give_out(step, command.resource, command.now)
        told = [self._board.tasks[f"{command.resource}/{wanted.task_id}"] for wanted in new]
        step.answer(command, {"tasks": [{"task_id": task.id, "status": task.status} for task in told]})
        return step

    def _check_new(self, command: Command, new: tuple[NewTask, ...]) -> None:
        names = {wanted.task_id: wanted for wanted in new}
        if len(names) < len(new):
            raise Refusal("invalid", "two of these tasks have the same id")
        for wanted in new:
            there = self._board.tasks.get(f"{command.resource}/{wanted.task_id}")
            if there is not None and (there.assigner, there.type) != (command.sender, wanted.type):
                raise Refusal("exists", f"there is another task {wanted.task_id} already")
            for other in wanted.depends_on:
                if other not in names and f"{command.resource}/{other}" not in self._board.tasks:
                    raise Refusal(
                        "unknown_dependency", f"{wanted.task_id} depends on {other}, which is not here"
                    )
            self._check_delegation(command, wanted)
        _check_cycles(names)
        if len(self._board.tasks) + len(new) > MAX_TASKS:
            raise Refusal("too_many", f"there are {len(self._board.tasks)} tasks already")
        if self._board.size > MAX_BYTES:
            raise Refusal("too_many", f"the tasks that are there have {self._board.size} bytes already")

    def _check_delegation(self, command: Command, wanted: NewTask) -> None:
        if not wanted.parent:
            return
        parent = self._board.tasks.get(f"{command.resource}/{wanted.parent}")
        if parent is None or parent.worker != command.sender or parent.status != "running":
            raise Refusal("not_found", f"{command.sender} does not work on {wanted.parent} in this queue")
        chain = (*parent.on_behalf_of, parent.assigner)
        if len(chain) > MAX_DELEGATIONS:
            raise Refusal(
                "too_deep", f"{wanted.task_id} would be the end of more than {MAX_DELEGATIONS} delegations"
            )
        if wanted.agent and wanted.agent in (*chain, command.sender):
            raise Refusal("cyclic", f"{wanted.task_id} would go back to {wanted.agent}, for whom it is done")

    def _new_task(self, command: Command, wanted: NewTask) -> Task:
        parent = self._board.tasks.get(f"{command.resource}/{wanted.parent}") if wanted.parent else None
        return Task(
            wanted.task_id,
            command.resource,
            wanted.type,
            command.sender,
            command.now,
            command.now + wanted.timeout_ms,
            wanted.parameters,
            wanted.description,
            wanted.capabilities,
            wanted.agent,
            wanted.priority,
            wanted.depends_on,
            wanted.parent,
            (*parent.on_behalf_of, parent.assigner) if parent else (),
            wanted.max_attempts,
            wanted.retry_delay_ms,
        )

    def _cancel(self, command: Command) -> Step:
        wanted, step = command.read(OneTask), Step(outcome="cancelled")
        task = self._found(command, wanted.task_id)
        if not task.is_open:
            raise Refusal("over", f"{task.id} is {task.status} already")
        reason = wanted.reason or f"cancelled by {command.sender}"
        self._board.end(step, task, command.now, "cancelled", error=TaskError("cancelled", reason))
        step.answer(command, task.summary())
        return step

    def _retry(self, command: Command) -> Step:
        wanted, step = command.read(OneTask), Step()
        task = self._found(command, wanted.task_id)
        if task.status not in ("failed", "cancelled"):
            raise Refusal("over" if task.status == "done" else "exists", f"{task.id} is {task.status}")
        task.max_attempts = task.attempt + task.max_attempts
        task.deadline = command.now + (task.deadline - task.created)
        task.status, task.error, task.ended, task.not_before = "waiting", None, 0, 0
        self._board.store(step, task)
        self._board.file(task)
        self._board.settle_dependencies(step, task, command.now)
        self._board.give_out(step, task.queue, command.now)
        step.outcome = task.status
        step.answer(command, task.summary())
        return step

    def _get(self, command: Command) -> Step:
        wanted, step = command.read(OneTask), Step()
        task = self._found(command, wanted.task_id)
        waiters, until = self._board.waiters, command.now + wanted.wait_ms
        if task.is_open and wanted.wait_ms and command.wants_answer and waiters.has_room:
            waiters.wait_for_end(command, task.record_name, until)
            self._board.remind(until, task)
        else:
            step.answer(command, task.summary())
        return step

    def _list(self, command: Command) -> Step:
        step = Step()
        tasks = [task for task in self._board.tasks.values() if task.queue == command.resource]
        told = [task.summary(with_result=False) for task in tasks[-LIST_LENGTH:]]
        step.answer(command, {"tasks": told, "is_whole": len(told) == len(tasks)})
        return step

    def _statistics(self, command: Command) -> Step:
        step = Step()
        tasks = (task for task in self._board.tasks.values() if task.queue == command.resource)
        step.answer(command, msgspec.to_builtins(statistics_of(tasks)))
        return step

    # What workers say.

    def _take(self, command: Command) -> Step:
        wanted, step = command.read(Take), Step()
        for name in wanted.capabilities:
            if not self._may_claim(command.sender, name):
                raise Refusal(
                    "denied", f"the policy does not let {command.sender} claim the capability {name}"
                )
        waiters, until = self._board.waiters, command.now + wanted.wait_ms
        waiters.withdraw(command)
        unknown = self._board.held_by(command, set(wanted.holds))
        given = self._board.that_fit(unknown) or list(self._board.give(step, command, wanted, command.now))
        if given or not (wanted.wait_ms and command.wants_answer and waiters.has_room):
            step.answer(command, {"tasks": [task.assignment() for task in given]})
            step.outcome = "taken" if given else "nothing"
        else:
            waiters.wait_for_work(command, wanted, until)
            self._board.remind_of_queue(until, command.resource)
            step.outcome = "waits"
        return step

    def _beat(self, command: Command) -> Step:
        step, tasks = Step(outcome="beat"), command.read(Beat).tasks
        if len({held.task_id for held in tasks}) < len(tasks):
            raise Refusal("invalid", "a beat names each task once")
        lost: list[str] = []
        for held in tasks:
            task = self._board.tasks.get(f"{command.resource}/{held.task_id}")
            if task is None or not task.is_held_by(command.sender, command.instance, held.attempt):
                lost.append(held.task_id)
                continue
            task.lease_until = command.now + task.lease_ms
            if held.progress is not None:
                task.progress = held.progress
            if held.note is not None:
                task.note = held.note
            self._board.store(step, task)
            self._board.remind(task.lease_until, task)
        step.answer(command, {"lost": lost})
        return step

    def _finish(self, command: Command) -> Step:
        told, step = command.read(Finish), Step()
        task = self._found(command, told.task_id)
        if not task.is_held_by(command.sender, command.instance, told.attempt):
            if self._was_told(task, command, told):
                # The same once more: its answer was lost.
                step.answer(command, task.summary())
                step.outcome = "repeated"
                return step
            raise Refusal(
                "stale_attempt",
                f"{task.id} is {task.status} in attempt {task.attempt}, and not with {command.sender} in another",
            )
        if told.error is None:
            task.progress = 100.0
            self._board.end(step, task, command.now, "done", result=told.result or {})
        elif told.retryable and task.attempt < task.max_attempts:
            self._board.again(step, task, command.now, told.error, task.retry_delay_ms)
        else:
            self._board.end(step, task, command.now, "failed", error=told.error)
        step.outcome = task.status
        step.details = {"task": task.id, "attempt": told.attempt}
        self._board.give_out(step, task.queue, command.now)
        step.answer(command, task.summary())
        return step

    def _leave(self, command: Command) -> Step:
        """A worker that takes no more waits no more, and gives back what it does not go on with."""
        wanted, step = command.read(Leave), Step(outcome="left")
        self._board.waiters.withdraw(command)
        held = self._board.held_by(command, set(wanted.holds))
        for task in held:
            task.max_attempts += 1
            self._board.again(step, task, command.now, TaskError("released", "its worker stopped"), 0)
        self._board.give_out(step, command.resource, command.now)
        step.answer(command, {"given_back": [task.id for task in held]})
        return step

    @staticmethod
    def _was_told(task: Task, command: Command, told: Finish) -> bool:
        same = (task.worker, task.instance, task.attempt) == (command.sender, command.instance, told.attempt)
        return same and told.error is None and task.status == "done" and task.result == (told.result or {})

    def _found(self, command: Command, task_id: str) -> Task:
        task = self._board.tasks.get(f"{command.resource}/{task_id}")
        if task is None:
            raise Refusal("not_found", f"there is no task {task_id} in the queue {command.resource}")
        return task


def _check_cycles(new: Mapping[str, NewTask]) -> None:
    """Refuse tasks that wait for each other; only new ones can.

    Raises:
        Refusal: They do.
    """
    others = {name: [other for other in wanted.depends_on if other in new] for name, wanted in new.items()}
    try:
        TopologicalSorter(others).prepare()
    except CycleError as error:
        circle = sorted(set(error.args[1]))
        raise Refusal("cyclic", f"these tasks wait for each other: {', '.join(circle[:5])}") from None
