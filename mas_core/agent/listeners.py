"""Handlers of topics: which method of an agent hears which topics, and how it is run."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from mas_core.agent.client import Client
from mas_core.agent.handlers import Handler
from mas_core.agent.keeper import StateKeeper
from mas_core.agent.log_reader import NOW
from mas_core.agent.marks import Marks, takes_content
from mas_core.agent.retries import Retries
from mas_core.agent.subscription import Heard, Subscription
from mas_core.agent.turn import MustRunAlone, Turn, current_turn
from mas_core.base.logs import get_logger
from mas_core.base.resources import check_pattern
from mas_core.base.traces import hint_of, trace_of
from mas_core.errors import InvalidPayload, MasError, UsageError
from mas_core.model.message import AgentMessage
from mas_core.model.topic import TOPIC, TopicGap
from mas_core.resilience.retry_policy import RetryPolicy, wait_of
from mas_core.store.contract import AgentStreams

log = get_logger(__name__)

Method = TypeVar("Method", bound=Callable[..., Awaitable[object]])
Run = Callable[[Handler, AgentMessage], Awaitable[object]]
"""Runs a handler once, within its time limit."""

PAUSE_AFTER: Final = 32
_USUAL: Final = RetryPolicy()


@dataclass(frozen=True, slots=True)
class TopicHandler:
    """A method that hears topics."""

    pattern: str
    durable: bool
    start: str | int
    handler: Handler


_MARKS: Final[Marks[TopicHandler]] = Marks("_mas_subscribes")


def subscribe(
    pattern: str,
    *,
    durable: bool = False,
    start: str | int = NOW,
    model: type[BaseModel] | None = None,
    retry: RetryPolicy | None = None,
    timeout: float | None = None,
) -> Callable[[Method], Method]:
    """Mark a method as a handler of topics; see `Agent.subscribe`."""
    check_pattern(TOPIC, pattern)

    def mark(method: Method) -> Method:
        takes_payload = takes_content(method, pattern)
        handler = Handler(pattern, method.__name__, model, takes_payload, retry, timeout)
        _MARKS.put(method, TopicHandler(pattern, durable, start, handler))
        return method

    return mark


def topic_handlers_of(kind: type[Any]) -> list[TopicHandler]:
    """The handlers of topics of an agent class; of several for one pattern that of the subclass."""
    found = {
        item.pattern: replace(item, handler=replace(item.handler, name=name))
        for name, item in _MARKS.of(kind)
    }
    return list(found.values())


class Listeners:
    """Runs an agent's handlers of topics.

    A message that its handler fails on is tried again here, as the retry policy says, and then reported and passed
    over: the log still has it.

    Args:
        client: Subscribes.
        store: Keeps the agent's state.
        keeper: The agent's state.
        handlers: What to run for which topics.
        run: Runs a handler once.
        max_in_flight: Handlers of one subscription that run at the same time.
        retries: When handlers that failed run again.
        on_gap: Gets what was trimmed before it was read.
    """

    def __init__(
        self,
        client: Client,
        store: AgentStreams,
        keeper: StateKeeper[Any],
        handlers: Sequence[TopicHandler],
        run: Run,
        max_in_flight: int,
        retries: Retries,
        on_gap: Callable[[TopicGap], None],
    ) -> None:
        self._listeners = [
            _Listener(client, store, keeper, item, run, max_in_flight, retries, on_gap) for item in handlers
        ]

    @property
    def in_hand(self) -> int:
        """Messages that are being handled."""
        return sum(len(listener.running) for listener in self._listeners)

    async def start(self) -> None:
        """Subscribe.

        Raises:
            Forbidden: The agent may not hear what a handler is for.
            GatewayDown: No gateway answers.
        """
        for listener in self._listeners:
            await listener.start()

    def hold(self) -> None:
        """Start no handler until `resume`."""
        for listener in self._listeners:
            listener.hold()

    def resume(self) -> None:
        """Start handlers again."""
        for listener in self._listeners:
            listener.resume()

    async def drain(self, timeout_s: float) -> bool:
        """Start no more handlers and let those that run finish; whether they did."""
        self.hold()
        running = {task for listener in self._listeners for task in listener.running}
        if running:
            _, late = await asyncio.wait(running, timeout=timeout_s)
            return not late
        return True

    async def stop(self) -> None:
        """Stop at once."""
        for listener in self._listeners:
            await listener.stop()


class _Listener:
    def __init__(
        self,
        client: Client,
        store: AgentStreams,
        keeper: StateKeeper[Any],
        item: TopicHandler,
        run: Run,
        max_in_flight: int,
        retries: Retries,
        on_gap: Callable[[TopicGap], None],
    ) -> None:
        self._client = client
        self._store = store
        self._keeper = keeper
        self._handler = item.handler
        self._run = run
        self._max_in_flight = max_in_flight
        self._retries = retries
        self._subscription: Subscription = client.subscribe(
            item.pattern, durable=item.durable, start=item.start, on_gap=on_gap
        )
        self._subscription.on_message = self._pump
        # Two handlers of one message must not give what they send the same ids.
        self._first_ordinal = zlib.crc32(item.pattern.encode()) << 16
        self._must_be_alone = False
        self._is_held = False
        self._pausing = 0
        self.running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._subscription.start()

    async def stop(self) -> None:
        self._is_held = True
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        await self._subscription.stop()

    def hold(self) -> None:
        self._is_held = True

    def resume(self) -> None:
        self._is_held = False
        self._pump()

    def _pump(self) -> None:
        if not self._is_held and self._subscription.waiting and len(self.running) < self._max_in_flight:
            self._start_workers(1)

    def _start_workers(self, count: int) -> None:
        for _ in range(count):
            worker = asyncio.create_task(self._work())
            self.running.add(worker)
            worker.add_done_callback(self.running.discard)
        # Handlers that never wait are run by one worker; only where they wait, others are worth their price.
        asyncio.get_running_loop().call_soon(self._grow)

    def _grow(self) -> None:
        waiting = self._subscription.waiting
        if not waiting or self._is_held:
            return
        if self._pausing:
            asyncio.get_running_loop().call_soon(self._grow)
            return
        running = len(self.running)
        count = min(waiting, self._max_in_flight - running, max(1, running))
        if count > 0:
            self._start_workers(count)

    async def _work(self) -> None:
        since_pause = 0
        while not self._is_held and (heard := self._subscription.take()) is not None:
            await self._handle(heard)
            since_pause += 1
            if since_pause == PAUSE_AFTER:
                since_pause = 0
                self._pausing += 1
                try:
                    await asyncio.sleep(0)
                finally:
                    self._pausing -= 1

    async def _handle(self, heard: Heard) -> None:
        message = await self._subscription.message_of(heard)
        if message is None:
            return
        policy = self._retries.of(message.message_type) or self._handler.retry or _USUAL
        delays = policy.delays()
        while True:
            try:
                await self._run_once(message)
                break
            except asyncio.CancelledError as error:
                worker = asyncio.current_task()
                if worker is None or worker.cancelling():
                    raise
                failure: BaseException = error
            except Exception as error:  # noqa: BLE001 - whatever a handler raises is its message's failure
                failure = error
            is_expected = isinstance(failure, InvalidPayload | UsageError)
            delay = next(delays, None) if not is_expected and policy.retries(failure) else None
            log.error(
                "handler.failed",
                agent=self._client.agent_id,
                topic=message.topic,
                message_id=message.message_id,
                will_retry=delay is not None,
                **({} if is_expected else {"trace": trace_of(failure)}),
                **hint_of(failure),
            )
            if delay is None:
                code = failure.code if isinstance(failure, MasError) else "handler_failed"
                self._subscription.report(heard, code)
                break
            await asyncio.sleep(max(delay, wait_of(failure)))
        self._subscription.done(heard)

    async def _run_once(self, message: AgentMessage) -> None:
        if not self._must_be_alone:
            try:
                await self._take_turn(message, is_alone=False)
            except MustRunAlone:
                self._must_be_alone = True
            else:
                return
        async with self._keeper.alone:
            while not await self._take_turn(message, is_alone=True):
                await self._keeper.load()

    async def _take_turn(self, message: AgentMessage, *, is_alone: bool) -> bool:
        """Run the handler and keep the state that it leaves; False when another instance changed it meanwhile."""
        turn = Turn(
            message.message_id, self._client.agent_id, is_alone, sent=self._first_ordinal, message=message
        )
        mark = current_turn.set(turn)
        try:
            if self._client.tracing.sees_handlers:
                with self._client.tracing.handling(message, turn):
                    await self._run(self._handler, message)
                    turn.is_over = True
            else:
                await self._run(self._handler, message)
        finally:
            current_turn.reset(mark)
        if turn.has_changed_state:
            done, _ = await self._store.set_state(turn.revision, self._keeper.encoded(turn))
            if not done:
                return False
            self._keeper.committed(turn)
        return True
