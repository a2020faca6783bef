"""`HostedAgent`: an agent of our own SDK whose handlers are somewhere else, behind a stream.

What the other side says in the course of a delivery is done inside the handler of that very message, so its rules
are those of any handler: ids of what it sends derive from the message, its state is committed with it, and what it
does not acknowledge comes again.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any, Final, Protocol

from mas_core.agent.agent import Agent
from mas_core.agent.handlers import Handler
from mas_core.agent.listeners import TopicHandler
from mas_core.agent.log_reader import BEGINNING, NOW
from mas_core.agent.task_handlers import TaskHandler, TaskInHand
from mas_core.agent.task_worker import DEFAULT_QUEUE, TaskOptions, TaskWorker
from mas_core.base.ids import check_message_type
from mas_core.base.resources import check_pattern
from mas_core.errors import AgentFailed, HandlerTimedOut, InvalidPayload, MasError, UsageError
from mas_core.model.delivery_mode import DeliveryMode
from mas_core.model.message import AgentMessage
from mas_core.model.topic import TOPIC, TopicGap
from mas_core.protocol import agents_pb2 as wire
from mas_core.server.agent_calls import publish, request, send
from mas_core.server.agent_messages import (
    MAX_METADATA,
    assignment_out,
    fault_out,
    few,
    message_out,
    payload_of,
)
from mas_core.server.in_hand import InHand

MAX_IN_FLIGHT: Final = 512
MAX_SLOTS: Final = 64
HANDLE_WITHIN_S: Final = 300.0
MAX_HANDLE_WITHIN_S: Final = 3_600.0
MAX_REASON: Final = 1_000

_in_hand: ContextVar[InHand | None] = ContextVar("in_hand", default=None)
"""What the task that runs was given last: a handler that runs again does so in the same task."""


class Desk(Protocol):
    """The other side of an agent."""

    async def deliver(self, about: object, what: wire.Message | wire.ToAgent.Delivery.Task) -> InHand:
        """Hand something over."""

    async def answer(self, answer: wire.ToAgent.Answer) -> None:
        """Say what became of something."""

    async def end(self, in_hand: InHand, error: MasError | None) -> None:
        """Take note that a delivery is over, and say so where that is not the agent's own word."""

    def gap(self, gap: TopicGap) -> None:
        """Say that messages of a topic are missing."""


class Nacked(AgentFailed):
    """The agent could not handle it."""

    retryable = True


class Unfit(InvalidPayload):
    """The agent will never be able to handle it."""


class HostedAgent(Agent[dict[str, Any]]):
    """One instance of an agent that is elsewhere.

    Args:
        agent_id: Its id.
        hello: What it says of itself.
        desk: Where its deliveries go.

    Raises:
        UsageError: It says what cannot be.
    """

    def __init__(self, agent_id: str, hello: wire.FromAgent.Hello, desk: Desk) -> None:
        most = hello.max_in_flight or 64
        if most > MAX_IN_FLIGHT:
            raise UsageError(f"max_in_flight is at most {MAX_IN_FLIGHT}, not {most}")
        within_s = hello.handle_within_ms / 1000 or HANDLE_WITHIN_S
        if within_s > MAX_HANDLE_WITHIN_S:
            raise UsageError(f"handle_within_ms is at most {round(MAX_HANDLE_WITHIN_S * 1000)}")
        super().__init__(
            agent_id,
            capabilities=few(hello.capabilities),
            metadata=payload_of(hello.metadata, "metadata", MAX_METADATA),
            max_in_flight=most,
            handler_timeout=within_s,
            delivery=hello.mode or DeliveryMode.AT_LEAST_ONCE,
            ordered=hello.ordered,
        )
        self._desk = desk
        self._places = asyncio.Semaphore(most)
        self._topic_handlers = [_topic_handler(item) for item in few(hello.subscriptions)]
        self._wanted = _wanted_tasks(hello.tasks) if hello.HasField("tasks") else None

    async def start(self) -> None:
        """Start, and take tasks if the agent wants any."""
        await super().start()
        if self._wanted is not None and self._client is not None:
            types, options = self._wanted
            handlers = {name: TaskHandler(name, "on_task", None, takes_parameters=False) for name in types}
            self._tasks = TaskWorker(self._client, handlers, self._do, self._capabilities, options)
            self._tasks.start()

    async def on_message(self, message: AgentMessage) -> object:
        """Hand a message over, and do what is said in its course until it is acknowledged."""
        in_hand = _in_hand.get()
        if in_hand is not None and in_hand.about is message and not in_hand.is_over:
            # The turn begins again, alone or from another state; the agent has said its part.
            in_hand.start_over()
            return await self._finish(in_hand, self._follow(in_hand, message))
        in_hand = await self._desk.deliver(message, message_out(message))
        _in_hand.set(in_hand)
        return await self._finish(in_hand, self._follow(in_hand, message))

    async def on_topic(self, message: AgentMessage) -> object:
        """Hand over what was published, of all topics together no more than the agent wants."""
        async with self._places:
            return await self.on_message(message)

    async def on_task(self, task: TaskInHand) -> object:
        """Hand a task over, and follow it until there is a result."""
        in_hand = await self._desk.deliver(task, assignment_out(task.assignment))
        return await self._finish(in_hand, self._follow_task(in_hand, task))

    def on_gap(self, gap: TopicGap) -> None:
        """Say that messages of a topic are missing."""
        self._desk.gap(gap)

    async def carry_out(
        self, said: wire.FromAgent, during: AgentMessage | None = None
    ) -> wire.ToAgent.Answer:
        """Do something that the agent says; errors are answers too."""
        answer = wire.ToAgent.Answer(id=said.id)
        match said.WhichOneof("say"):
            case "send":
                answer.receipt.CopyFrom(await send(self, said.send, during))
            case "request":
                answer.message.CopyFrom(await request(self, said.request, during))
            case "publish":
                answer.receipt.CopyFrom(await publish(self, said.publish))
            case "change_state":
                await self.update_state(payload_of(said.change_state.fields, "state"))
                answer.done.SetInParent()
            case other:
                raise UsageError(
                    f"{other or 'this'} cannot be said here, or needs the number of its delivery"
                )
        return answer

    async def _do(self, _handler: TaskHandler, task: TaskInHand) -> object:
        left_s = (task.assignment.deadline - self.client.now_ms()) / 1000
        async with asyncio.timeout(left_s):
            return await self.on_task(task)

    async def _finish(self, in_hand: InHand, following: Any) -> object:
        """What a delivery ends with, told to the agent where that is not its own word."""
        try:
            result: object = await following
        except (Nacked, Unfit) as error:
            in_hand.is_over = True
            await self._desk.end(in_hand, None)
            raise error.with_traceback(None) from None
        except Exception as error:
            in_hand.is_over = True
            await self._desk.end(
                in_hand,
                error if isinstance(error, MasError) else AgentFailed("this could not be carried out"),
            )
            raise
        except asyncio.CancelledError:
            in_hand.is_over = True
            await self._desk.end(
                in_hand, HandlerTimedOut("the delivery was not acknowledged in time, or is with others")
            )
            raise
        await self._desk.end(in_hand, None)
        return result

    async def _follow(self, in_hand: InHand, message: AgentMessage) -> object:
        while True:
            said = await in_hand.next()
            match said.WhichOneof("say"):
                case "ack":
                    return {}
                case "nack":
                    raise _refusal(said.nack)
                case "reply":
                    if not message.expects_reply:
                        return {}
                    await self._reply(in_hand, said, message)
                    if not said.reply.partial:
                        return {}
                case "progress":
                    pass
                case _:
                    await self._answered(in_hand, said, message)

    async def _reply(self, in_hand: InHand, said: wire.FromAgent, message: AgentMessage) -> None:
        reply_type = said.reply.type or f"{message.message_type}.reply"
        answer = wire.ToAgent.Answer(id=said.id)
        receipt = await message.reply(reply_type, payload_of(said.reply.data), final=not said.reply.partial)
        if in_hand.is_unanswered():
            # One that waits for the state of its turn has no receipt yet.
            if receipt is None:
                answer.done.SetInParent()
            else:
                answer.receipt.message_id = receipt.message_id
                answer.receipt.decision = str(receipt.decision)
            await self._desk.answer(answer)

    async def _answered(self, in_hand: InHand, said: wire.FromAgent, message: AgentMessage | None) -> None:
        try:
            answer = await self.carry_out(said, message)
        except MasError as error:
            answer = wire.ToAgent.Answer(id=said.id, error=fault_out(error))
        if in_hand.is_unanswered():
            await self._desk.answer(answer)

    async def _follow_task(self, in_hand: InHand, task: TaskInHand) -> object:
        while True:
            said = await in_hand.next()
            match said.WhichOneof("say"):
                case "ack":
                    return {}
                case "nack":
                    raise _refusal(said.nack)
                case "reply":
                    if not said.reply.partial:
                        return payload_of(said.reply.data, "result")
                case "progress":
                    percentage = said.progress.percentage
                    # Not a number is not between the two either.
                    if 0 <= percentage <= 100:
                        task.report(percentage, said.progress.note[:MAX_REASON])
                case _:
                    await self._answered(in_hand, said, None)


def _refusal(nack: wire.FromAgent.Nack) -> MasError:
    reason = nack.reason[:MAX_REASON] or "the agent could not handle it"
    if nack.permanent:
        return Unfit(reason)
    if nack.retry_after_ms:
        return Nacked(reason, retry_after=nack.retry_after_ms / 1000)
    return Nacked(reason)


def _topic_handler(wanted: wire.FromAgent.Subscription) -> TopicHandler:
    check_pattern(TOPIC, wanted.pattern)
    start: str | int = wanted.start or NOW
    if start not in (NOW, BEGINNING):
        if not (wanted.start.isascii() and wanted.start.isdigit() and len(wanted.start) < 19):
            raise UsageError(
                f"{wanted.start[:40]!r} is no start", hint=f"{NOW}, {BEGINNING} or the number of a message"
            )
        start = int(wanted.start)
    return TopicHandler(
        wanted.pattern, wanted.durable, start, Handler(wanted.pattern, "on_topic", None, takes_payload=False)
    )


def _wanted_tasks(wanted: wire.FromAgent.TakeTasks) -> tuple[list[str], TaskOptions]:
    types = [check_message_type(name) for name in few(wanted.types)]
    slots = wanted.slots or 4
    if not types or slots > MAX_SLOTS:
        raise UsageError(f"whoever takes tasks names their types, and takes at most {MAX_SLOTS} at a time")
    return types, TaskOptions(wanted.queue or DEFAULT_QUEUE, slots)
