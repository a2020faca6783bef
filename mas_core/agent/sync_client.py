"""An agent for scripts that do not use asyncio: it sends, asks, receives and says what it has processed.

A loop runs in a thread of its own. A message that was received stays in the agent's hands until it is marked as
processed; one that never is comes again, here or in another instance.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from mas_core.agent.agent import Agent
from mas_core.agent.supervisor import Supervisor, TaskStatus
from mas_core.agent.task_worker import DEFAULT_QUEUE
from mas_core.errors import MessageNotFound, NotStarted
from mas_core.model.decision import Receipt
from mas_core.model.message import AgentMessage, TypedPayload
from mas_core.model.priority import NORMAL

Result = TypeVar("Result")


class _Received:
    """A message that waits for somebody's word."""

    def __init__(self, message: AgentMessage) -> None:
        self.message = message
        self.processed: asyncio.Future[object] = asyncio.get_running_loop().create_future()


class _Hand(Agent[Any]):
    """Takes every message and keeps it until somebody says what became of it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.arrived: queue.SimpleQueue[_Received] = queue.SimpleQueue()
        self.held: dict[str, _Received] = {}

    async def on_message(self, message: AgentMessage) -> object:
        received = _Received(message)
        self.held[message.message_id] = received
        self.arrived.put(received)
        try:
            return await received.processed
        finally:
            self.held.pop(message.message_id, None)


class SyncClient:
    """An agent in a script: `with SyncClient("reporter") as client: client.send("boss", "report", {"n": 1})`.

    Args:
        agent_id: Id of the agent; from `AGENT_ID` when left out.
        max_in_hand: Messages that can be received and not yet processed; more wait in the inbox.
        options: As for `Agent`: `redis_url`, `token`, `capabilities`, ...
    """

    def __init__(self, agent_id: str | None = None, *, max_in_hand: int = 64, **options: Any) -> None:
        # Nobody says how long a script takes for a message.
        self._agent = _Hand(agent_id, max_in_flight=max_in_hand, handler_timeout=0, **options)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Connect; errors as for `Agent.start`."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="mas", daemon=True)
            self._thread.start()
            try:
                self._run(self._agent.start())
            except BaseException:
                self._end()
                raise

    def close(self) -> None:
        """Say goodbye; what was received and not processed goes to another instance, or waits."""
        if self._loop is not None:
            try:
                self._run(self._agent.stop(drain_timeout=0))
            finally:
                self._end()

    def __enter__(self) -> Self:
        """Connect."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye."""
        self.close()

    def send(
        self,
        target: str,
        message_type: str | TypedPayload,
        data: object = None,
        *,
        priority: int | str = NORMAL,
        message_id: str = "",
    ) -> Receipt:
        """Send a message; returns once it is safely on its way. Errors as for `Agent.send`."""
        return self._run(
            self._agent.send(target, message_type, data, priority=priority, message_id=message_id)
        )

    def publish(self, topic: str, data: object = None, *, message_id: str = "") -> Receipt:
        """Publish a message to a topic. Errors as for `Agent.publish`."""
        return self._run(self._agent.publish(topic, data, message_id=message_id))

    def request(
        self, target: str, message_type: str | TypedPayload, data: object = None, *, timeout: float = 30.0
    ) -> dict[str, object]:
        """Ask and wait for the payload of the answer. Errors as for `Agent.request`."""
        return self._run(self._agent.request(target, message_type, data, timeout=timeout)).data

    def receive(self, *, limit: int = 10, timeout: float = 0.0) -> list[AgentMessage]:
        """Messages for this agent that nobody has received yet, the oldest first.

        Args:
            limit: At most so many.
            timeout: Seconds to wait for the first one.
        """
        self._running()
        found: list[AgentMessage] = []
        try:
            while len(found) < limit:
                is_first = not found and timeout > 0
                found.append(self._agent.arrived.get(block=is_first, timeout=timeout or None).message)
        except queue.Empty:
            pass
        return found

    def mark_processed(self, message_id: str, reply: object = None) -> None:
        """A message was processed: it never comes again, and its sender gets the reply if it waits for one.

        Raises:
            MessageNotFound: It is not in hand: never received, or processed already.
        """
        self._settle(message_id, reply)

    def mark_failed(self, message_id: str, error: Exception) -> None:
        """A message could not be processed: it comes again, or becomes a dead letter, as the retries say.

        Raises:
            MessageNotFound: It is not in hand.
        """
        self._settle(message_id, error)

    def queue_statistics(self) -> dict[str, int]:
        """How many messages of each lane (high, normal, low) are not processed, and how many are in hand here."""
        waiting = self._run(self._agent.backlog())
        return {**waiting, "in_hand": len(self._agent.held)}

    def discover(self, capabilities: Sequence[str] = ()) -> list[dict[str, object]]:
        """Running agents that this one may talk to; those with any of these capabilities."""
        return self._run(self._agent.discover(capabilities))

    def assign_task(
        self, task_type: str, parameters: object = None, *, queue: str = DEFAULT_QUEUE, **options: Any
    ) -> str:
        """Assign a task; returns its id. Options and errors as for `Supervisor.assign`."""
        return self._run(self._supervisor(queue).assign(task_type, parameters, **options))

    def task(self, task_id: str, *, queue: str = DEFAULT_QUEUE) -> TaskStatus:
        """What is known of a task; errors as for `Supervisor.get`."""
        return self._run(self._supervisor(queue).get(task_id))

    def task_result(
        self, task_id: str, *, queue: str = DEFAULT_QUEUE, timeout: float | None = None
    ) -> dict[str, object]:
        """The result of a task once it is done; errors as for `Supervisor.result`."""
        return self._run(self._supervisor(queue).result(task_id, timeout))

    def _supervisor(self, queue_name: str) -> Supervisor:
        return self._agent.supervisor(queue_name)

    def _settle(self, message_id: str, outcome: object) -> None:
        loop = self._running()
        done: Future[None] = Future()

        def settle() -> None:
            received = self._agent.held.get(message_id)
            if received is None or received.processed.done():
                done.set_exception(MessageNotFound(f"the message {message_id} is not in hand"))
                return
            if isinstance(outcome, Exception):
                received.processed.set_exception(outcome)
            else:
                received.processed.set_result(outcome)
            done.set_result(None)

        loop.call_soon_threadsafe(settle)
        done.result()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        try:
            loop = self._running()
        except NotStarted:
            work.close()
            raise
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise NotStarted
        return self._loop

    def _end(self) -> None:
        loop, self._loop = self._running(), None
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()
