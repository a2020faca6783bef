"""What is known of the tasks of a partition, and what follows when one of them begins, ends or runs out of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from mas_core.coordination.agenda import Agenda
from mas_core.coordination.machine import Command, Event, Step
from mas_core.coordination.ready_tasks import ReadyTasks
from mas_core.coordination.task import Status, Take, Task, TaskAttempt, TaskError, read_task
from mas_core.coordination.task_waiters import TaskWaiters

KEEP_MS = 3_600_000
"""How long a task that is over is kept among the others; afterwards it can be read, not depended on."""
CONFIRM_MS = 5_000
"""A worker that is given a task has so long to show that it knows: it may have died while it waited."""
MAX_HISTORY = 20
MAX_TOLD_BYTES = 4_000_000
"""Of records whose tasks are told in one answer."""
_QUEUE = "queue:"


class TaskBoard:
    """The tasks of one partition, filed by what may happen to them next."""

    def __init__(self, records: Mapping[str, bytes]) -> None:
        self.waiters = TaskWaiters()
        self._ready: dict[str, ReadyTasks] = {}
        self._dependents: dict[str, set[str]] = {}
        self._running: dict[str, set[str]] = {}
        self._agenda = Agenda()
        self._sizes = {name: len(record) for name, record in records.items()}
        self.size = sum(self._sizes.values())
        """Bytes of all records."""
        tasks = sorted(map(read_task, records.values()), key=lambda task: (task.created, task.id))
        self.tasks: dict[str, Task] = {task.record_name: task for task in tasks}
        """By the names of their records."""
        for task in tasks:
            self.file(task)

    def next_due(self) -> int:
        """When the next lease, deadline, pause or waiting ends; 0 when none does."""
        return self._agenda.next_due()

    def tick(self, step: Step, now: int) -> None:
        """End what has run out."""
        for name in self._agenda.take_due(now):
            if name.startswith(_QUEUE):
                self._look_at_waiters(step, name.removeprefix(_QUEUE), now)
            elif (task := self.tasks.get(name)) is not None:
                for command in self.waiters.too_long_for(name, now):
                    step.answer(command, task.summary())
                self._look_at(step, task, now)
                if name in self.tasks:
                    self._agenda.remind(self._next_moment(task), name)

    def _look_at_waiters(self, step: Step, queue: str, now: int) -> None:
        for command in self.waiters.too_long_at(queue, now):
            step.answer(command, {"tasks": []})
        if left := self.waiters.workers(queue):
            self.remind_of_queue(min(waiting.until for waiting in left), queue)

    def _next_moment(self, task: Task) -> int:
        """When something about a task may run out next."""
        if not task.is_open:
            return task.ended + KEEP_MS
        moments = [task.deadline, *self.waiters.moments_of(task.record_name)]
        if task.status == "running":
            moments.append(task.lease_until)
        elif task.not_before:
            moments.append(task.not_before)
        return min(moments)

    def remind_of_queue(self, moment: int, queue: str) -> None:
        """Somebody waits at a queue until then."""
        self._agenda.remind(moment, f"{_QUEUE}{queue}")

    def give(self, step: Step, command: Command, wanted: Take, now: int) -> Iterator[Task]:
        """Tasks for a worker who asks, which are its own from here on."""
        ready = self._ready.get(command.resource)
        running = self._running.setdefault(command.sender, set())
        room = MAX_TOLD_BYTES
        for _ in range(wanted.slots):
            if ready is None or room <= 0 or (wanted.limit and len(running) >= wanted.limit):
                break
            task_id = ready.best(command.sender, wanted.capabilities, wanted.types)
            if not task_id:
                break
            task = self.tasks[f"{command.resource}/{task_id}"]
            ready.remove(task)
            task.status, task.attempt = "running", task.attempt + 1
            task.worker, task.instance, task.started = command.sender, command.instance, now
            task.lease_ms, task.progress = wanted.lease_ms, 0.0
            task.lease_until = now + min(CONFIRM_MS, wanted.lease_ms)
            running.add(task.record_name)
            self.store(step, task)
            self.remind(task.lease_until, task)
            room -= self._sizes[task.record_name]
            yield task
        if not running:
            del self._running[command.sender]

    def held_by(self, command: Command, known: Collection[str]) -> list[Task]:
        """Tasks of a queue that an instance works on, but for those that it knows of."""
        held = (self.tasks[name] for name in sorted(self._running.get(command.sender, ())))
        return [
            task
            for task in held
            if (task.queue, task.instance) == (command.resource, command.instance) and task.id not in known
        ]

    def that_fit(self, tasks: Iterable[Task]) -> list[Task]:
        """As many of these as go into one answer, at least one."""
        found, room = [], MAX_TOLD_BYTES
        for task in tasks:
            if room <= 0:
                break
            found.append(task)
            room -= self._sizes[task.record_name]
        return found

    def _look_at(self, step: Step, task: Task, now: int) -> None:
        """Something about a task may have run out."""
        if not task.is_open:
            if task.ended + KEEP_MS <= now:
                self._retire(step, task)
            return
        if task.deadline <= now:
            self.end(step, task, now, "failed", error=TaskError("deadline", "it was not done in time"))
            step.events.append(_event("task.expired", task, "it was not done in time"))
        elif task.status == "running" and task.lease_until <= now:
            worker, error = task.worker, TaskError("worker_lost", f"{task.worker} was not heard of any more")
            if task.attempt < task.max_attempts:
                self.again(step, task, now, error, 0)
                step.events.append(_event("task.reassigned", task, f"{worker} was not heard of any more"))
            else:
                self.end(step, task, now, "failed", error=error)
                step.events.append(_event("task.failed", task, error.message))
        elif task.status == "waiting" and 0 < task.not_before <= now:
            task.not_before = 0
            self.file(task)
        self.give_out(step, task.queue, now)

    def again(self, step: Step, task: Task, now: int, error: TaskError, delay_ms: int) -> None:
        """An attempt has failed, and another one follows."""
        self._unhand(task, now, error)
        task.status, task.not_before = "waiting", now + delay_ms if delay_ms else 0
        self.store(step, task)
        self.file(task)

    def _unhand(self, task: Task, now: int, error: TaskError | None) -> None:
        """Take a task from its worker, who failed at it where there is an error."""
        running = self._running.get(task.worker, set())
        running.discard(task.record_name)
        if not running:
            self._running.pop(task.worker, None)
        if error is not None:
            attempt = TaskAttempt(task.attempt, task.worker, task.instance, task.started, now, error)
            task.history = (*task.history, attempt)[-MAX_HISTORY:]

    def end(
        self,
        step: Step,
        task: Task,
        now: int,
        status: Status,
        *,
        result: dict[str, object] | None = None,
        error: TaskError | None = None,
    ) -> None:
        """A task is over: who waits for it is told, and what depends on it goes on."""
        self._close(step, task, now, status, result, error)
        self._settle(step, self._freed_by(task), now)
        self.give_out(step, task.queue, now)

    def _close(
        self,
        step: Step,
        task: Task,
        now: int,
        status: Status,
        result: dict[str, object] | None,
        error: TaskError | None,
    ) -> None:
        if task.status == "running":
            self._unhand(task, now, error)
        elif task.queue in self._ready:
            self._ready[task.queue].remove(task)
        for other in self._dependencies(task):
            dependents = self._dependents.get(other, set())
            dependents.discard(task.record_name)
            if not dependents:
                self._dependents.pop(other, None)
        task.status = status
        task.ended, task.result, task.error = now, result, error
        self.store(step, task)
        self.remind(now + KEEP_MS, task)
        for command in self.waiters.watchers(task.record_name):
            step.answer(command, task.summary())

    def _freed_by(self, task: Task) -> list[str]:
        """Names of the tasks that waited for this one, which is over."""
        return sorted(self._dependents.pop(task.record_name, ()))

    def settle_dependencies(self, step: Step, task: Task, now: int) -> None:
        """Begin, or give up, a task whose last dependency may be over."""
        self._settle(step, [task.record_name], now)

    def _settle(self, step: Step, names: Iterable[str], now: int) -> None:
        """Begin, or give up, tasks; what depends on those given up is given up too, however long the chain is."""
        left = deque(names)
        while left:
            task = self.tasks.get(left.popleft())
            if task is None or task.status != "waiting":
                continue
            over = (self.tasks[name] for name in self._dependencies(task))
            failed = next((other for other in over if other.status in ("failed", "cancelled")), None)
            if failed is None:
                self.file(task)
                continue
            reason = f"{failed.id}, which it depends on, is {failed.status}"
            self._close(step, task, now, "failed", None, TaskError("dependency", reason))
            step.events.append(_event("task.failed", task, reason))
            left.extend(self._freed_by(task))

    def _dependencies(self, task: Task) -> list[str]:
        """Names of those that are known; what is retired was done."""
        names = (f"{task.queue}/{other}" for other in task.depends_on)
        return [name for name in names if name in self.tasks]

    def file(self, task: Task) -> None:
        """Put a task where it belongs in memory, whatever its state."""
        name = task.record_name
        if task.status == "running":
            self._running.setdefault(task.worker, set()).add(name)
            self.remind(task.lease_until, task)
        if not task.is_open:
            self.remind(task.ended + KEEP_MS, task)
            return
        self.remind(task.deadline, task)
        if task.status != "waiting":
            return
        open_ones = [other for other in self._dependencies(task) if self.tasks[other].status != "done"]
        for other in open_ones:
            self._dependents.setdefault(other, set()).add(name)
        if task.not_before:
            self.remind(task.not_before, task)
        elif not open_ones:
            self._ready.setdefault(task.queue, ReadyTasks()).add(task)

    def give_out(self, step: Step, queue: str, now: int) -> None:
        """Give tasks to workers who wait, in the order in which they came."""
        for waiting in self.waiters.workers(queue):
            given = list(self.give(step, waiting.command, waiting.take or Take(), now))
            if given:
                self.waiters.served(queue, waiting)
                step.answer(waiting.command, {"tasks": [task.assignment() for task in given]})

    def _retire(self, step: Step, task: Task) -> None:
        del self.tasks[task.record_name]
        self.size -= self._sizes.pop(task.record_name)
        step.records[task.record_name] = None
        step.finished[task.record_name] = msgspec.json.encode(task)

    def remind(self, moment: int, task: Task) -> None:
        """Look at a task again then."""
        self._agenda.remind(moment, task.record_name)

    def store(self, step: Step, task: Task) -> None:
        """Write what a task is now."""
        name, record = task.record_name, msgspec.json.encode(task)
        self.size += len(record) - self._sizes.get(name, 0)
        self.tasks[name], self._sizes[name] = task, len(record)
        step.records[name] = record


def _event(kind: str, task: Task, reason: str) -> Event:
    details: dict[str, object] = {"task": task.id, "attempt": task.attempt, "worker": task.worker}
    return Event(kind, task.queue, f"{task.id}: {reason}", details)
