"""Works through queues of tasks: takes as many as there are free slots, tells that it lives, says how they ended.

What the queue says counts: a handler whose task it has given to somebody else is cancelled, and what it would have
said is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from mas_core.agent.client import Client
from mas_core.agent.resources import ask, pause_after
from mas_core.agent.task_handlers import Assignment, TaskHandler, TaskInHand, task_handlers_of
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.coordination.task import KIND
from mas_core.errors import CoordinationRefused, InvalidPayload, MasError, ResourceNotFound
from mas_core.model.message import payload_bytes

WAIT_S = 20.0
"""How long a worker waits at a queue before it asks again: who waits there is in the gateway's memory."""
BEATS = 2
"""How often a worker beats in the time of a lease; each takes a place of its rate limit."""
REPORTS = 6
"""How often at most it does so when handlers report progress."""
JOIN_S = 1.0
"""How long after the beginning of a task the first beat waits: many are over by then, others begin too."""
ANSWER_S = 5.0
DEFAULT_QUEUE = "default"

log = get_logger(__name__)

Do = Callable[[TaskHandler, TaskInHand], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How an instance works on tasks."""

    queue: str = DEFAULT_QUEUE
    """Whose tasks it does."""
    slots: int = 4
    """Tasks that this instance works on at a time."""
    limit: int = 0
    """Tasks that all instances of the agent may work on at a time; 0 for no bound of its own."""
    lease: float = 30.0
    """Seconds after which a task is given to somebody else when this worker is not heard of: 1 to 300."""


class TaskWorker:
    """One instance's work on one queue.

    Args:
        client: The agent's, started.
        handlers: By type of task; no other types are taken.
        do: Runs a handler.
        capabilities: What the agent has, as far as tasks ask for it.
        options: Which queue, how many, and for how long.
    """

    def __init__(
        self,
        client: Client,
        handlers: Mapping[str, TaskHandler],
        do: Do,
        capabilities: Sequence[str],
        options: TaskOptions,
    ) -> None:
        self._client = client
        self.queue = options.queue
        self._handlers = handlers
        self._do = do
        self._lease_s = options.lease
        self._slots = options.slots
        self._wanted = {
            "capabilities": list(capabilities),
            "types": sorted(handlers),
            "limit": options.limit,
            "lease_ms": int(options.lease * 1000),
            "wait_ms": int(WAIT_S * 1000),
        }
        self._in_hand: dict[str, tuple[TaskInHand, asyncio.Task[None]]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._has_room = asyncio.Event()
        self._last_beat = self._next_beat = 0.0
        self._has_news = asyncio.Event()

    def start(self) -> None:
        """Take tasks from now on."""
        self._next_beat = time.monotonic() + self._lease_s / BEATS
        self._loops = [asyncio.create_task(self._take()), asyncio.create_task(self._beat())]

    async def drain(self, timeout: float) -> bool:
        """Take no more; whether all in hand ended within `timeout` seconds."""
        taking = self._loops[:1]
        for loop in taking:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop
        if running := [handling for _, handling in self._in_hand.values()]:
            if timeout > 0:
                # What came for the question that was given up goes to others at once.
                with contextlib.suppress(MasError):
                    await self._tell("leave", {"holds": list(self._in_hand)}, min(ANSWER_S, timeout))
            await asyncio.wait(running, timeout=timeout)
        return not self._in_hand

    async def stop(self) -> None:
        """End; what is still in hand is given back, so that others get it at once."""
        for loop in self._loops:
            loop.cancel()
        left = list(self._in_hand.values())
        for _, handling in left:
            handling.cancel()
        await asyncio.gather(*self._loops, *(handling for _, handling in left), return_exceptions=True)
        self._loops = []
        with contextlib.suppress(MasError):
            await self._tell("leave", {})

    async def _take(self) -> None:
        while True:
            self._has_room.clear()
            free = self._slots - len(self._in_hand)
            if free <= 0:
                await self._has_room.wait()
                continue
            try:
                wanted = {**self._wanted, "slots": free, "holds": list(self._in_hand)}
                answer = await self._tell("take", wanted, WAIT_S + ANSWER_S)
            except MasError as error:
                log.warning(
                    "tasks.not_taken",
                    queue=self.queue,
                    code=error.code,
                    reason=error.message,
                    hint=list(error.hint),
                )
                await asyncio.sleep(pause_after(error) if error.retryable else self._lease_s)
                continue
            for assignment in msgspec.convert(answer.get("tasks", []), list[Assignment]):
                self._begin(TaskInHand(assignment, _tells=self._report))

    def _begin(self, task: TaskInHand) -> None:
        before = self._in_hand.get(task.id)
        if before is not None:
            # An attempt of its own that the queue has given up: nothing that it says counts any more.
            before[1].cancel()
        handling = asyncio.create_task(self._handle(task))
        self._in_hand[task.id] = (task, handling)
        self._beat_by(time.monotonic() + min(JOIN_S, self._lease_s / 5))
        handling.add_done_callback(lambda _: self._ended(task))

    def _ended(self, task: TaskInHand) -> None:
        if task.id in self._in_hand and self._in_hand[task.id][0] is task:
            del self._in_hand[task.id]
        self._has_room.set()

    async def _handle(self, task: TaskInHand) -> None:
        outcome: dict[str, object] = {"task_id": task.id, "attempt": task.attempt}
        try:
            result = await self._do(self._handlers[task.type], task)
            outcome["result"] = msgspec.json.decode(payload_bytes(result))
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            # Something that the handler waited for was cancelled, not the handler.
            outcome["error"] = {
                "type": "CancelledError",
                "message": "what the handler waited for was cancelled",
            }
        except InvalidPayload as error:
            outcome |= {"error": {"type": error.code, "message": error.message[:1000]}, "retryable": False}
        except MasError as error:
            told = {"type": error.code, "message": error.message[:1000]}
            outcome |= {"error": told, "retryable": error.retryable}
        except Exception as error:  # noqa: BLE001 - a task may fail in any way
            # Texts of unexpected exceptions stay here: they may hold data.
            log.error("task.failed", task=task.id, attempt=task.attempt, trace=trace_of(error))
            kind = type(error).__name__
            outcome["error"] = {"type": kind, "message": f"the handler failed with {kind}"}
        await self._say_so(task, outcome)

    async def _say_so(self, task: TaskInHand, outcome: dict[str, object]) -> None:
        """Until the queue has heard it, or does not want to hear it any more."""
        while True:
            try:
                await self._tell("finish", outcome)
            except (CoordinationRefused, ResourceNotFound) as error:
                log.warning("task.not_ended", task=task.id, attempt=task.attempt, reason=error.message)
            except MasError as error:
                log.warning("task.not_told", task=task.id, code=error.code, reason=error.message)
                if error.retryable:
                    await asyncio.sleep(pause_after(error))
                    continue
                if "result" in outcome:
                    # Left unsaid, the queue would take the task for lost and have it done once more.
                    del outcome["result"]
                    told = {"type": error.code, "message": "its result was refused"}
                    outcome |= {"error": told, "retryable": False}
                    continue
            return

    def _report(self) -> None:
        """A handler has told how far it is."""
        self._beat_by(self._last_beat + self._lease_s / REPORTS)

    def _beat_by(self, moment: float) -> None:
        self._next_beat = min(self._next_beat, moment)
        self._has_news.set()

    async def _beat(self) -> None:
        while True:
            left = self._next_beat - time.monotonic()
            if left > 0 or not self._in_hand:
                self._has_news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._has_news.wait(), left if self._in_hand else None)
                continue
            self._last_beat = time.monotonic()
            self._next_beat = self._last_beat + self._lease_s / BEATS
            await self._tell_of_all(dict(self._in_hand))

    async def _tell_of_all(self, in_hand: dict[str, tuple[TaskInHand, asyncio.Task[None]]]) -> None:
        """Tell that these are worked on, and stop those that are with somebody else by now."""
        told = [
            {"task_id": task.id, "attempt": task.attempt, "progress": task.progress, "note": task.note}
            for task, _ in in_hand.values()
        ]
        try:
            answer = await self._tell("beat", {"tasks": told})
        except MasError as error:
            log.warning("tasks.not_told", queue=self.queue, code=error.code, reason=error.message)
            has_notes = any(task.note for task, _ in in_hand.values())
            if error.retryable:
                self._beat_by(time.monotonic() + pause_after(error))
            elif has_notes:
                # One note that may not be told must not cost all of them their leases.
                for task, _ in in_hand.values():
                    task.note = ""
                self._beat_by(time.monotonic())
            return
        for name in msgspec.convert(answer.get("lost", []), list[str]):
            # The same task may have come again meanwhile, in an attempt that is not lost.
            if name in in_hand and self._in_hand.get(name) is in_hand[name]:
                log.warning("task.lost", task=name, queue=self.queue)
                in_hand[name][1].cancel()

    async def _tell(self, verb: str, data: dict[str, object], timeout: float = ANSWER_S) -> dict[str, object]:
        return await ask(self._client, KIND, self.queue, verb, data, timeout=timeout)


def start_task_worker(
    agent: object, client: Client, capabilities: Sequence[str], options: TaskOptions
) -> TaskWorker | None:
    """Take tasks for an agent, if its class has handlers of tasks."""
    handlers = task_handlers_of(type(agent))
    if not handlers:
        return None

    async def do(handler: TaskHandler, task: TaskInHand) -> object:
        method = getattr(agent, handler.name)
        parameters = handler.parameters(task)
        async with asyncio.timeout((task.assignment.deadline - client.now_ms()) / 1000):
            return await (method(task, parameters) if handler.takes_parameters else method(task))

    worker = TaskWorker(client, handlers, do, capabilities, options)
    worker.start()
    return worker
