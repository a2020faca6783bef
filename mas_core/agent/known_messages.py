"""Messages that many systems need, so that agents which never met understand each other.

Each is a payload with a type of its own: `await agent.send("boss", TaskResponse(task_id="t1", status="done"))`
sends a message of the type `task.response`, and `@Agent.on(TaskResponse)` handles it.
"""

from __future__ import annotations

import traceback
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from mas_core.base.ids import new_message_id

MAX_TRACE = 20_000
"""Characters of a stack trace that are told."""

Percentage = Annotated[float, Field(ge=0, le=100)]
TaskState = Literal["waiting", "running", "done", "failed", "cancelled"]


class KnownMessage(BaseModel):
    """The payload of a message whose type is known; fields that it does not know are kept."""

    model_config = ConfigDict(extra="allow")

    TYPE: ClassVar[str] = ""
    """Type of the messages that carry it."""


class TaskAssignment(KnownMessage):
    """Somebody is to do something, and answers with a `TaskResponse`; for tasks that survive see `Supervisor`."""

    TYPE: ClassVar[str] = "task.assignment"

    task_id: str = Field(default_factory=new_message_id)
    task_type: str
    description: str = ""
    parameters: dict[str, Any] = {}
    required_capabilities: list[str] = []
    deadline: float | None = None
    """Unix seconds."""


class TaskResponse(KnownMessage):
    """What became of a task, or how far it is."""

    TYPE: ClassVar[str] = "task.response"

    task_id: str
    status: TaskState
    result: dict[str, Any] | None = None
    error: str = ""
    execution_time: Annotated[float, Field(ge=0)] | None = None
    """Seconds."""
    completion_percentage: Percentage | None = None


class StatusUpdate(KnownMessage):
    """The sender is in another state."""

    TYPE: ClassVar[str] = "status.update"

    status: str
    available: bool = True
    """Whether it takes more work."""
    load: Annotated[float, Field(ge=0)] | None = None
    """Share of what it can do at a time."""
    reason: str = ""


class Heartbeat(KnownMessage):
    """The sender lives; what gateways know of instances does not need it."""

    TYPE: ClassVar[str] = "heartbeat"

    time: float
    """Unix seconds."""
    metrics: dict[str, float] = {}


class ErrorReport(KnownMessage):
    """Something failed that somebody should know of."""

    TYPE: ClassVar[str] = "error.report"

    error_type: str
    error_message: str
    stack_trace: str = ""
    task_id: str = ""
    details: dict[str, Any] = {}

    @classmethod
    def of(cls, error: BaseException, *, task_id: str = "", with_trace: bool = False) -> Self:
        """The report of an exception.

        Args:
            error: What was raised.
            task_id: The task in whose course it was.
            with_trace: Tell the stack trace too; its lines can hold data.
        """
        lines = traceback.format_exception(error) if with_trace else []
        return cls(
            error_type=type(error).__name__,
            error_message=str(error),
            stack_trace="".join(lines)[-MAX_TRACE:],
            task_id=task_id,
        )


class Coordination(KnownMessage):
    """Instructions for agents that do something together."""

    TYPE: ClassVar[str] = "coordination"

    action: str
    group: str = ""
    participants: list[str] = []
    data: dict[str, Any] = {}


class CommandMessage(KnownMessage):
    """The receiver is to do this, now."""

    TYPE: ClassVar[str] = "command"

    command: str
    arguments: dict[str, Any] = {}


class EventMessage(KnownMessage):
    """Something happened; `Agent.emit` keeps events as well."""

    TYPE: ClassVar[str] = "event"

    event: str
    data: dict[str, Any] = {}
    occurred_at: float | None = None
    """Unix seconds."""
