"""Who waits for something to do, and who waits for a task to be over; all of it may be forgotten."""

from __future__ import annotations

import msgspec

from mas_core.coordination.machine import Command
from mas_core.coordination.task import Take

MAX_WAITING = 10_000


class Waiting(msgspec.Struct):
    """One instance that waits for an answer."""

    command: Command
    until: int
    """Unix milliseconds by the server's clock."""
    take: Take | None = None
    """Of a worker: what it wants."""


class TaskWaiters:
    """Those of one partition."""

    def __init__(self) -> None:
        self._workers: dict[str, list[Waiting]] = {}
        self._watchers: dict[str, list[Waiting]] = {}
        self._count = 0

    @property
    def has_room(self) -> bool:
        """Whether one more may wait."""
        return self._count < MAX_WAITING

    def wait_for_work(self, command: Command, take: Take, until: int) -> None:
        """A worker of a queue waits for a task."""
        self._workers.setdefault(command.resource, []).append(Waiting(command, until, take))
        self._count += 1

    def wait_for_end(self, command: Command, task: str, until: int) -> None:
        """Somebody waits until a task is over."""
        self._watchers.setdefault(task, []).append(Waiting(command, until))
        self._count += 1

    def withdraw(self, command: Command) -> None:
        """A worker that asks again waits in one place only."""
        for waiting in self.workers(command.resource):
            if waiting.command.is_from_same_as(command):
                self.served(command.resource, waiting)

    def all(self) -> list[Command]:
        """Everybody."""
        places = (*self._workers.values(), *self._watchers.values())
        return [waiting.command for queue in places for waiting in queue]

    def workers(self, queue: str) -> list[Waiting]:
        """Those who wait for a task of a queue, in the order in which they came."""
        return self._workers.get(queue, [])[:]

    def served(self, queue: str, waiting: Waiting) -> None:
        """A worker has what it waited for."""
        self._workers[queue].remove(waiting)
        self._count -= 1
        if not self._workers[queue]:
            del self._workers[queue]

    def moments_of(self, task: str) -> list[int]:
        """Until when those wait who wait for the end of a task."""
        return [waiting.until for waiting in self._watchers.get(task, ())]

    def watchers(self, task: str) -> list[Command]:
        """Those who waited for the end of a task; they wait no more."""
        waiting = self._watchers.pop(task, [])
        self._count -= len(waiting)
        return [one.command for one in waiting]

    def too_long_at(self, queue: str, now: int) -> list[Command]:
        """Workers who have waited long enough at a queue; they wait no more."""
        over = [waiting for waiting in self.workers(queue) if waiting.until <= now]
        for waiting in over:
            self.served(queue, waiting)
        return [waiting.command for waiting in over]

    def too_long_for(self, task: str, now: int) -> list[Command]:
        """Those who have waited long enough for the end of a task; they wait no more."""
        waiting = self._watchers.pop(task, [])
        over = [one.command for one in waiting if one.until <= now]
        self._count -= len(over)
        if left := [one for one in waiting if one.until > now]:
            self._watchers[task] = left
        return over
