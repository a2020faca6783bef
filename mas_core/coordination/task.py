"""One task: the record that is stored, and what workers, assigners and operators are told of it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from mas_core.base.ids import AGENT_ID, CAPABILITY, MESSAGE_ID, MESSAGE_TYPE
from mas_core.model.priority import NORMAL

KIND: Final = "task"
Status = Literal["waiting", "running", "done", "failed", "cancelled"]
OPEN: Final[frozenset[Status]] = frozenset({"waiting", "running"})
DEFAULT_TIMEOUT_MS: Final = 300_000
"""How long a task may take from its assignment on, where the assigner does not say."""
MAX_TIMEOUT_MS: Final = 30 * 24 * 3_600_000
DEFAULT_ATTEMPTS: Final = 3
MAX_DELEGATIONS: Final = 8
"""How long a chain of tasks assigned for tasks may get."""

MaybeTaskId = Annotated[str, msgspec.Meta(pattern=rf"^(?:{MESSAGE_ID.pattern})?\Z")]
TaskId = Annotated[str, msgspec.Meta(pattern=rf"^(?:{MESSAGE_ID.pattern})\Z")]
MaybeAgentId = Annotated[str, msgspec.Meta(pattern=rf"^(?:{AGENT_ID.pattern})?\Z")]
CapabilityName = Annotated[str, msgspec.Meta(pattern=rf"^(?:{CAPABILITY.pattern})\Z")]
TypeName = Annotated[str, msgspec.Meta(pattern=rf"^(?:{MESSAGE_TYPE.pattern})\Z")]
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class TaskError(msgspec.Struct, frozen=True):
    """Why an attempt, or the task as a whole, has failed."""

    type: Annotated[str, msgspec.Meta(max_length=128)] = "error"
    message: Text = ""


class TaskAttempt(msgspec.Struct, frozen=True):
    """One attempt that did not end well."""

    number: int
    worker: str
    instance: str
    started: int
    ended: int
    error: TaskError


class Task(msgspec.Struct, omit_defaults=True):
    """A task with all that became of it; times are Unix milliseconds by the server's clock."""

    id: str
    queue: str
    type: str
    assigner: str
    created: int
    deadline: int
    parameters: dict[str, object] = {}
    description: str = ""
    capabilities: tuple[str, ...] = ()
    """What its worker has to have, all of them."""
    agent: str = ""
    """The only one who may take it; empty for anybody."""
    priority: int = NORMAL
    depends_on: tuple[str, ...] = ()
    """Tasks of the same queue that have to be done before."""
    parent: str = ""
    """The task in whose course this one was assigned."""
    on_behalf_of: tuple[str, ...] = ()
    """Who assigned the tasks that led to this one, the first first; kept by the gateway, not told by anybody."""
    max_attempts: int = DEFAULT_ATTEMPTS
    retry_delay_ms: int = 0
    status: Status = "waiting"
    attempt: int = 0
    """Number of the present or last attempt, from 1; each worker proves with it that it is not a former one."""
    not_before: int = 0
    worker: str = ""
    instance: str = ""
    started: int = 0
    """When the present or last attempt began."""
    lease_ms: int = 0
    lease_until: int = 0
    progress: float = 0.0
    """0 to 100."""
    note: str = ""
    ended: int = 0
    result: dict[str, object] | None = None
    error: TaskError | None = None
    history: tuple[TaskAttempt, ...] = ()
    """Attempts that did not end well."""

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.status in OPEN

    @property
    def record_name(self) -> str:
        """Under which its record is kept."""
        return f"{self.queue}/{self.id}"

    def is_held_by(self, agent: str, instance: str, attempt: int) -> bool:
        """Whether this instance works on it, in this attempt."""
        return (self.status, self.worker, self.instance, self.attempt) == (
            "running",
            agent,
            instance,
            attempt,
        )

    def summary(self, *, with_result: bool = True) -> dict[str, object]:
        """What everybody is told who may look at it."""
        told: dict[str, object] = {
            "task_id": self.id,
            "queue": self.queue,
            "type": self.type,
            "description": self.description,
            "status": self.status,
            "assigner": self.assigner,
            "worker": self.worker,
            "attempt": self.attempt,
            "priority": self.priority,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "deadline": self.deadline,
            "completion_percentage": self.progress,
            "note": self.note,
            "on_behalf_of": list(self.on_behalf_of),
        }
        if self.result is not None:
            if with_result:
                told["result"] = self.result
            told["execution_time"] = (self.ended - self.started) / 1000
        if self.error is not None:
            told["error"] = {"type": self.error.type, "message": self.error.message}
        return told

    def assignment(self) -> dict[str, object]:
        """What its worker is told."""
        return {
            "task_id": self.id,
            "queue": self.queue,
            "type": self.type,
            "description": self.description,
            "parameters": self.parameters,
            "attempt": self.attempt,
            "assigner": self.assigner,
            "on_behalf_of": list(self.on_behalf_of),
            "priority": self.priority,
            "deadline": self.deadline,
            "lease_ms": self.lease_ms,
        }


class NewTask(msgspec.Struct, forbid_unknown_fields=True):
    """One task that somebody wants done."""

    task_id: TaskId
    type: TypeName
    parameters: dict[str, object] = {}
    description: Text = ""
    capabilities: Annotated[tuple[CapabilityName, ...], msgspec.Meta(max_length=16)] = ()
    agent: MaybeAgentId = ""
    priority: Annotated[int, msgspec.Meta(ge=0, le=10)] = NORMAL
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_MS)] = DEFAULT_TIMEOUT_MS
    depends_on: Annotated[tuple[TaskId, ...], msgspec.Meta(max_length=64)] = ()
    parent: MaybeTaskId = ""
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = DEFAULT_ATTEMPTS
    retry_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 0


class Assign(msgspec.Struct, forbid_unknown_fields=True):
    """Do these, all or none of them; those that are there already stay as they are."""

    tasks: Annotated[tuple[NewTask, ...], msgspec.Meta(min_length=1, max_length=1000)]


class Take(msgspec.Struct, forbid_unknown_fields=True):
    """Give me something to do, at most so many, and wait for it so long."""

    capabilities: Annotated[tuple[CapabilityName, ...], msgspec.Meta(max_length=64)] = ()
    types: Annotated[tuple[TypeName, ...], msgspec.Meta(max_length=256)] = ()
    """Types of tasks that it takes; any where this is empty."""
    slots: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Tasks that all instances of the agent may work on at a time; 0 for no bound of its own."""
    lease_ms: Annotated[int, msgspec.Meta(ge=1000, le=300_000)] = 30_000
    """How long a task stays with a worker that does not beat."""
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    holds: Annotated[tuple[TaskId, ...], msgspec.Meta(max_length=1000)] = ()
    """What this instance knows that it has: the others it is given are told to it again, in the same attempt."""


class Held(msgspec.Struct, forbid_unknown_fields=True):
    """A task that somebody works on, with what it tells of it."""

    task_id: TaskId
    attempt: int
    progress: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    note: Text | None = None


class Beat(msgspec.Struct, forbid_unknown_fields=True):
    """I still work on these."""

    tasks: Annotated[tuple[Held, ...], msgspec.Meta(max_length=1000)]


class Leave(msgspec.Struct, forbid_unknown_fields=True):
    """I take no more, and give back what I do not hold."""

    holds: Annotated[tuple[TaskId, ...], msgspec.Meta(max_length=1000)] = ()
    """What this instance goes on with."""


class Finish(msgspec.Struct, forbid_unknown_fields=True):
    """This is done, or has failed."""

    task_id: TaskId
    attempt: int
    result: dict[str, object] | None = None
    error: TaskError | None = None
    retryable: bool = True


class OneTask(msgspec.Struct, forbid_unknown_fields=True):
    """A task, and for how long to wait until it is over."""

    task_id: TaskId
    reason: Text = ""
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0


def read_task(record: bytes) -> Task:
    """A stored record.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return msgspec.json.decode(record, type=Task)
