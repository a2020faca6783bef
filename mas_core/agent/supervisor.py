"""Assigns tasks and follows them: what those who want something done use.

Nothing is kept here: the queue has it all, so a supervisor can end and begin again at any time, and several can
look after the same tasks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec

from mas_core.agent.client import Client
from mas_core.agent.resources import ask, pause_after
from mas_core.agent.task_handlers import TaskInHand
from mas_core.agent.task_worker import DEFAULT_QUEUE
from mas_core.base.ids import check_message_type, new_message_id
from mas_core.base.logs import get_logger
from mas_core.coordination.task import DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT_MS, KIND, TaskError
from mas_core.coordination.task_statistics import TaskStatistics
from mas_core.errors import MasError, RequestTimedOut, TaskFailed
from mas_core.model.message import payload_bytes
from mas_core.model.priority import NORMAL, parse_priority

WAIT_S = 20.0
"""How long one question waits for the end of a task; it is asked again after that."""
ANSWER_S = 10.0

log = get_logger(__name__)


class TaskStatus(msgspec.Struct):
    """What is known of a task; times are Unix milliseconds by the server's clock."""

    task_id: str
    queue: str
    type: str
    status: str
    """waiting, running, done, failed or cancelled."""
    assigner: str
    worker: str
    """Who works on it, or did last; empty before anybody has begun."""
    attempt: int
    priority: int
    created: int
    started: int
    ended: int
    deadline: int
    description: str = ""
    completion_percentage: float = 0.0
    note: str = ""
    on_behalf_of: tuple[str, ...] = ()
    result: dict[str, object] | None = None
    execution_time: float = 0.0
    """Seconds that the attempt took that was done."""
    error: TaskError | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will become of it, unless somebody has it tried again."""
        return self.status in ("done", "failed", "cancelled")


class NewTask(msgspec.Struct, kw_only=True):
    """One task to be assigned with others; see `Supervisor.assign` for what the fields mean."""

    type: str
    parameters: object = None
    task_id: str = msgspec.field(default_factory=new_message_id)
    description: str = ""
    to: str = ""
    capabilities: Sequence[str] = ()
    priority: int | str = NORMAL
    timeout: float = DEFAULT_TIMEOUT_MS / 1000
    depends_on: Sequence[str] = ()
    max_attempts: int = DEFAULT_ATTEMPTS
    retry_delay: float = 0.0
    during: TaskInHand | None = None


_NOT_TAKEN = (
    "nobody has taken it: that takes a running agent with a handler of {type}, each capability that was asked "
    "for, a free slot, and a rule: mas rbac allow AGENT task:{queue} --action work"
)
"""Why a task still waits."""


class Supervisor:
    """Assigns tasks to a queue and follows them.

    Args:
        client: Who assigns, started.
        queue: Where the tasks go; `mas rbac allow ME task:QUEUE --action assign` lets somebody do that.
    """

    def __init__(self, client: Client, queue: str = DEFAULT_QUEUE) -> None:
        self._client = client
        self.queue = queue

    async def assign(
        self,
        task_type: str,
        parameters: object = None,
        *,
        task_id: str = "",
        description: str = "",
        to: str = "",
        capabilities: Sequence[str] = (),
        priority: int | str = NORMAL,
        timeout: float = DEFAULT_TIMEOUT_MS / 1000,
        depends_on: Sequence[str] = (),
        max_attempts: int = DEFAULT_ATTEMPTS,
        retry_delay: float = 0.0,
        during: TaskInHand | None = None,
    ) -> str:
        """Assign a task; it is stored when this returns.

        Args:
            task_type: Such as `report.make`: the handler that does it.
            parameters: A dict or a pydantic model.
            task_id: An id of your own: assigned again under it, the task is there once.
            description: For people.
            to: The only agent who may take it.
            capabilities: What its worker has to have, all of them.
            priority: 0 to 10, or a name; the most urgent are taken first.
            timeout: Seconds from now on in which it has to be done, whoever does it.
            depends_on: Ids of tasks of the same queue that have to be done before.
            max_attempts: How often it is begun at most.
            retry_delay: Seconds between an attempt that failed and the next.
            during: The task in whose course this one is assigned: who assigned that one goes into `on_behalf_of`.

        Returns:
            Its id.

        Raises:
            CoordinationRefused: `exists`, `unknown_dependency`, `cyclic`, `too_deep`, `too_many`, ...
            InvalidIdentifier: This cannot be the type of a task.
            Refused: The gateway did not let it through.
        """
        new = NewTask(
            type=task_type,
            parameters=parameters,
            task_id=task_id or new_message_id(),
            description=description,
            to=to,
            capabilities=capabilities,
            priority=priority,
            timeout=timeout,
            depends_on=depends_on,
            max_attempts=max_attempts,
            retry_delay=retry_delay,
            during=during,
        )
        return (await self.assign_all([new]))[0]

    async def assign_all(self, tasks: Sequence[NewTask]) -> list[str]:
        """Assign up to 1,000 tasks, all or none of them, which may depend on each other; returns their ids.

        Raises:
            CoordinationRefused, Refused: As for `assign`; then none is assigned.
        """
        told = [
            {
                "task_id": task.task_id,
                "type": check_message_type(task.type),
                "parameters": msgspec.json.decode(payload_bytes(task.parameters)),
                "description": task.description,
                "agent": task.to,
                "capabilities": list(task.capabilities),
                "priority": parse_priority(task.priority),
                "timeout_ms": max(1, int(task.timeout * 1000)),
                "depends_on": list(task.depends_on),
                "max_attempts": task.max_attempts,
                "retry_delay_ms": int(task.retry_delay * 1000),
                "parent": task.during.id if task.during is not None else "",
            }
            for task in tasks
        ]
        await self._ask("assign", {"tasks": told})
        return [task.task_id for task in tasks]

    async def get(self, task_id: str) -> TaskStatus:
        """What is known of a task.

        Raises:
            ResourceNotFound: There is none, or it ended more than an hour ago.
        """
        return await self.look(task_id, 0)

    async def look(self, task_id: str, wait_s: float) -> TaskStatus:
        """What is known of a task once it is over, or after `wait_s` seconds, at most 20; raises as `get`."""
        question = {"task_id": task_id, "wait_ms": int(wait_s * 1000)}
        return msgspec.convert(await self._ask("get", question, wait_s + ANSWER_S), TaskStatus)

    async def wait(self, task_id: str, timeout: float | None = None) -> TaskStatus:
        """What became of a task, once it is over.

        Args:
            task_id: Its id.
            timeout: Seconds; None waits for as long as it takes.

        Raises:
            RequestTimedOut: It was not over in time.
            ResourceNotFound: There is none.
        """
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            wait_s = max(0.0, min(WAIT_S, until - time.monotonic()))
            try:
                found = await self.look(task_id, wait_s)
            except MasError as error:
                left = until - time.monotonic()
                if not error.retryable or left <= 0:
                    raise
                log.warning("task.not_heard_of", task=task_id, code=error.code, reason=error.message)
                await asyncio.sleep(min(pause_after(error), left))
                continue
            if found.is_over:
                return found
            if time.monotonic() >= until:
                untaken = found.status == "waiting" and not found.attempt
                raise RequestTimedOut(
                    f"task {task_id} is {found.status} after {timeout:g} s",
                    **({"because": _NOT_TAKEN.format(type=found.type, queue=self.queue)} if untaken else {}),
                    hint=f"mas task get {task_id}",
                    target=f"{KIND}:{self.queue}",
                    seconds=timeout,
                )

    async def result(self, task_id: str, timeout: float | None = None) -> dict[str, object]:
        """The result of a task, once it is done.

        Raises:
            TaskFailed: It failed or was cancelled.
            RequestTimedOut, ResourceNotFound: As for `wait`.
        """
        found = await self.wait(task_id, timeout)
        if found.status != "done":
            error = found.error or TaskError()
            raise TaskFailed(
                f"task {task_id} {found.status}: {error.message}",
                task=task_id,
                error_type=error.type,
                worker=found.worker,
            )
        return found.result or {}

    async def cancel(self, task_id: str, reason: str = "") -> TaskStatus:
        """Cancel a task; whoever works on it is stopped when it is next heard of.

        Raises:
            CoordinationRefused: `over`: it is.
        """
        return msgspec.convert(await self._ask("cancel", {"task_id": task_id, "reason": reason}), TaskStatus)

    async def retry(self, task_id: str) -> TaskStatus:
        """Have a task tried again that failed or was cancelled."""
        return msgspec.convert(await self._ask("retry", {"task_id": task_id}), TaskStatus)

    async def tasks(self) -> list[TaskStatus]:
        """The newest 200 tasks of the queue, oldest first, without their results: `get` tells those."""
        return msgspec.convert((await self._ask("list", {}))["tasks"], list[TaskStatus])

    async def statistics(self) -> TaskStatistics:
        """How many tasks are in which state, how many end well, how long they wait and take, and who does them."""
        return msgspec.convert(await self._ask("statistics", {}), TaskStatistics)

    async def _ask(
        self, verb: str, data: Mapping[str, object], timeout: float = ANSWER_S
    ) -> dict[str, object]:
        return await ask(self._client, KIND, self.queue, verb, dict(data), timeout=timeout)
