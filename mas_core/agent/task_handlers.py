"""Handlers of tasks: which method of an agent does which type of task, and what it sees of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel

from mas_core.agent.marks import Marks, fitted, takes_content
from mas_core.base.ids import check_message_type
from mas_core.errors import UsageError

TaskMethod = TypeVar("TaskMethod", bound=Callable[..., Awaitable[object]])


class Assignment(msgspec.Struct):
    """A task as the queue gives it to a worker."""

    task_id: str
    queue: str
    type: str
    attempt: int
    assigner: str
    deadline: int
    """Unix milliseconds by the server's clock."""
    lease_ms: int
    parameters: dict[str, object] = {}
    description: str = ""
    on_behalf_of: tuple[str, ...] = ()
    """Who assigned the tasks that led to this one, the first first."""
    priority: int = 5


@dataclass(slots=True)
class TaskInHand:
    """A task that a handler works on."""

    assignment: Assignment
    progress: float = 0.0
    """0 to 100; the next beat tells it."""
    note: str = ""
    _tells: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def id(self) -> str:
        """Its id."""
        return self.assignment.task_id

    @property
    def type(self) -> str:
        """Its type."""
        return self.assignment.type

    @property
    def parameters(self) -> dict[str, object]:
        """What it is to be done with."""
        return self.assignment.parameters

    @property
    def attempt(self) -> int:
        """From 1; a later attempt may find that an earlier one has begun."""
        return self.assignment.attempt

    def report(self, progress: float, note: str = "") -> None:
        """Let those who look know how far it is.

        Args:
            progress: 0 to 100.
            note: A few words.
        """
        if not 0 <= progress <= 100:
            raise UsageError(f"progress goes from 0 to 100, not {progress}")
        self.progress, self.note = progress, note[:1000]
        self._tells()


@dataclass(frozen=True, slots=True)
class TaskHandler:
    """One handler of tasks of an agent class."""

    task_type: str
    name: str
    model: type[BaseModel] | None
    takes_parameters: bool

    def parameters(self, task: TaskInHand) -> object:
        """The parameters as the handler wants them.

        Raises:
            InvalidPayload: They do not fit the handler's model.
        """
        if self.model is None:
            return task.parameters
        return fitted(
            self.model, task.parameters, "parameters", f"the parameters do not fit {self.task_type}"
        )


_MARKS: Marks[TaskHandler] = Marks("_mas_does")


def task(task_type: str, *, model: type[BaseModel] | None = None) -> Callable[[TaskMethod], TaskMethod]:
    """Mark an async method as the handler of a type of tasks; see `Agent.task`."""
    check_message_type(task_type)

    def mark(method: TaskMethod) -> TaskMethod:
        takes_parameters = takes_content(method, task_type)
        _MARKS.put(method, TaskHandler(task_type, method.__name__, model, takes_parameters))
        return method

    return mark


def task_handlers_of(kind: type[Any]) -> dict[str, TaskHandler]:
    """The handlers of an agent class by type of task; those of subclasses win."""
    return {handler.task_type: replace(handler, name=name) for name, handler in _MARKS.of(kind)}
