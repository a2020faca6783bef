"""The dispatcher: hands events to whoever in this process wants them, hundreds of thousands in a second.

For each type and topic a plan is made once: who wants all of these events, who can be found by the value of one
field, and who has to be asked. Handlers that are plain functions are called at once; those that are coroutines
have a bounded buffer and one worker each, so that no event costs a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable
from types import TracebackType
from typing import Final, Self, TypeVar, cast

from mas_core.base.logs import get_logger
from mas_core.base.name_patterns import ANYTHING
from mas_core.errors import Backpressure, Conflict, UsageError
from mas_core.events.buffers import USUAL_SIZE, Buffer, Overflow
from mas_core.events.plan import Ask, Deliver, Entry, Plan, make_plan
from mas_core.events.selection import EventFilter, Selection, Undecided, select
from mas_core.events.subscription import DispatcherMetrics, EventStream, Handler, Subscription
from mas_core.model.event import Event, EventType

log = get_logger(__name__)

OnError = Callable[[Subscription, Event, Exception], None]
_Given = TypeVar("_Given", bound=Subscription)

FILTER_FAILURES: Final = 100
"""So many times in a row a filter may raise until its subscription is switched off."""
_MOST_PLANS: Final = 4096
_BREATH: Final = 256
"""Events after which others get their turn on the event loop."""


class EventDispatcher:
    """Hands events to subscriptions by type, topic, source and content; belongs to one event loop.

        async with EventDispatcher() as dispatcher:
            dispatcher.subscribe("large", print, type="order.*", filter={"data.amount": {"ge": 100}})
            await dispatcher.dispatch(Event("order.created", "shop", {"amount": 120}))

    Each subscription sees the events of one emitter in their order. What one subscription does never touches
    another: a handler that raises is counted and told to `on_error`.

    Args:
        on_error: Told the subscription, the event and the error when a handler or a filter raises.
        filter_failures: So many times in a row a filter may raise until its subscription is switched off, which
            is told by an event `mas.subscription.disabled`.
        source: The source of that event.
    """

    def __init__(
        self,
        *,
        on_error: OnError | None = None,
        filter_failures: int = FILTER_FAILURES,
        source: str = "mas",
    ) -> None:
        if filter_failures < 1:
            raise UsageError("a filter may fail at least once")
        self._on_error = on_error
        self._filter_failures = filter_failures
        self._source = source
        self._entries: dict[str, tuple[Subscription, Entry]] = {}
        self._plans: dict[tuple[str, str], Plan] = {}
        self._full: list[tuple[Subscription, Buffer]] = []
        self._own: list[Event] = []
        self._dispatched = 0
        self._number = 0
        self._past = [0, 0, 0, 0, 0]
        self._is_closed = False

    def subscribe(
        self,
        name: str = "",
        handler: Handler | None = None,
        *,
        type: str = ANYTHING,  # noqa: A002 - what the attribute of an event is called
        topic: str = ANYTHING,
        source: str | Collection[str] = (),
        filter: EventFilter = None,  # noqa: A002
        buffer_size: int = USUAL_SIZE,
        overflow: Overflow | str = Overflow.WAIT,
    ) -> Subscription:
        """Have a handler called for each event that matches all of this.

        Args:
            name: What to call the subscription; made up when left out.
            handler: A function, called at once, or a coroutine function, called one event at a time.
            type: A pattern: `order.created`, `order.*` (one more word), `order.>` (one or more words).
            topic: A pattern likewise; `>` also takes events without a topic.
            source: One source, or several.
            filter: Conditions on fields (`{"data.amount": {"ge": 100}}`), an expression of the Common Expression
                Language (`'data.amount >= 100'`), or a function.
            buffer_size: For a coroutine function: events that may wait for it.
            overflow: When so many wait: `wait` holds up whoever dispatches, `drop_oldest` drops and counts.

        Raises:
            FilterInvalid: Something of it cannot be understood; `details` has line and column.
            Conflict: There is a subscription of this name.
            UsageError: There is no handler, or the dispatcher is closed.
        """
        if handler is None or not callable(handler):
            raise UsageError("a subscription needs a handler, which is called with each event")
        selection = select(type=type, topic=topic, source=source, filter=filter)
        if not _is_async(handler):
            found = Subscription(self._free_name(name), selection, self._close)
            return self._add(found, _called(found, handler, self._handler_failed))
        buffer = Buffer(buffer_size, overflow)
        found = Subscription(self._free_name(name), selection, self._close, buffer)
        start = cast("Callable[[Event], Awaitable[object]]", handler)
        deliver = self._buffered(found, buffer, lambda: self._work(found, buffer, start))
        return self._add(found, deliver)

    def create_stream(
        self,
        name: str,
        *,
        type: str = ANYTHING,  # noqa: A002
        topic: str = ANYTHING,
        source: str | Collection[str] = (),
        filter: EventFilter = None,  # noqa: A002
        buffer_size: int = USUAL_SIZE,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
    ) -> EventStream:
        """Keep each event that matches until somebody reads it; parameters and errors as for `subscribe`."""
        selection = select(type=type, topic=topic, source=source, filter=filter)
        buffer = Buffer(buffer_size, overflow)
        found = EventStream(self._free_name(name), selection, self._close, buffer)
        return self._add(found, self._buffered(found, buffer, None))

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """All subscriptions and streams, also those that are switched off."""
        return tuple(found for found, _ in self._entries.values())

    def subscription(self, name: str) -> Subscription | None:
        """The subscription or stream of this name."""
        found = self._entries.get(name)
        return found[0] if found else None

    async def dispatch(self, event: Event) -> None:
        """Hand an event to everybody who wants it; waits only where a full buffer says so.

        Raises:
            Backpressure: A handler dispatches to its own buffer, which is full: it would wait for itself.
            UsageError: The dispatcher is closed.
        """
        self._hand_out(event)
        if self._full or self._own:
            await self._settle(event)

    async def dispatch_many(self, events: Iterable[Event]) -> int:
        """Hand out events, one after the other; returns how many. Errors as for `dispatch`."""
        number = 0
        for event in events:
            number += 1
            self._hand_out(event)
            if self._full or self._own:
                await self._settle(event)
            if not number % _BREATH:
                await asyncio.sleep(0)
        return number

    async def drain(self) -> None:
        """Wait until the handlers have seen all that waits for them."""
        for found, _ in list(self._entries.values()):
            if found.buffer is not None and found.worker is not None:
                await found.buffer.emptied()

    def metrics(self) -> DispatcherMetrics:
        """What was counted so far."""
        every = self.subscriptions
        return DispatcherMetrics(
            self._dispatched,
            self._past[0] + sum(found.delivered for found in every),
            self._past[1] + sum(found.handler_errors for found in every),
            self._past[2] + sum(found.undecided for found in every),
            self._past[3] + sum(found.filter_errors for found in every),
            self._past[4] + sum(found.dropped for found in every),
            sum(found.waiting for found in every),
            len(every),
            sum(bool(found.disabled) for found in every),
        )

    async def close(self, drain_s: float = 5.0) -> None:
        """Take no more events, let handlers finish what waits for so long, and end all subscriptions."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self.drain()
        self._is_closed = True
        self._plans = {}
        workers = [found.worker for found, _ in self._entries.values() if found.worker is not None]
        for found in self.subscriptions:
            found.close()
        await asyncio.gather(*workers, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(5.0 if kind is None else 0.0)

    def _hand_out(self, event: Event) -> None:
        plan = self._plans.get((event.type, event.topic)) or self._plan(event)
        self._dispatched += 1
        for deliver in plan.always:
            deliver(event)
        for read, table in plan.tables:
            found = table.get(read(event))
            if found is not None:
                for also, deliver in found:
                    if also is None or also(event):
                        deliver(event)
        for ask, deliver in plan.asked:
            if ask(event):
                deliver(event)

    async def _settle(self, event: Event) -> None:
        """Wait where a full buffer says so, and tell what the dispatcher itself has to tell."""
        while self._full or self._own:
            full, self._full = self._full, []
            me = asyncio.current_task()
            for found, buffer in full:
                if found.worker is not me:
                    await buffer.put(event)
                    found.delivered += 1
            for found, _ in full:
                if found.worker is me:
                    raise Backpressure(
                        f"the handler of {found.name} dispatches to its own buffer, which is full",
                        hint=("a larger buffer_size", 'overflow="drop_oldest"'),
                    )
            if self._own:
                event = self._own.pop(0)
                self._hand_out(event)

    def _plan(self, event: Event) -> Plan:
        if self._is_closed:
            raise UsageError("the dispatcher is closed")
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        entries = [entry for found, entry in self._entries.values() if not found.disabled]
        plan = make_plan(entries, event.type, event.topic)
        self._plans[event.type, event.topic] = plan
        return plan

    def _free_name(self, name: str) -> str:
        if self._is_closed:
            raise UsageError("the dispatcher is closed")
        while not name:
            self._number += 1
            made_up = f"subscription-{self._number}"
            name = "" if made_up in self._entries else made_up
        if name in self._entries:
            raise Conflict(
                f"there is a subscription {name[:80]!r} already", hint="another name, or close it first"
            )
        return name

    def _add(self, found: _Given, deliver: Deliver) -> _Given:
        selection = found.selection
        self._entries[found.name] = (found, Entry(selection, deliver, self._asked(found, selection)))
        self._plans = {}
        return found

    def _asked(self, found: Subscription, selection: Selection) -> Ask | None:
        """All of a filter that no index knows; where it may raise, it is counted and never raises."""
        asks, rest = selection.asks, selection.rest
        if asks is None:
            return rest

        def ask(event: Event) -> bool:
            if rest is not None and not rest(event):
                return False
            try:
                matches = bool(asks(event))
            except Undecided:
                found.undecided += 1
                matches = False
            except Exception as error:  # noqa: BLE001 - a filter is somebody else's code
                self._filter_failed(found, event, error)
                return False
            found.failures_in_a_row = 0
            return matches

        return ask

    def _buffered(
        self, found: Subscription, buffer: Buffer, work: Callable[[], Awaitable[None]] | None
    ) -> Deliver:
        offer = buffer.offer

        def deliver(event: Event) -> None:
            if found.is_closed:
                return
            if offer(event):
                found.delivered += 1
            else:
                self._full.append((found, buffer))
            if found.worker is None and work is not None:
                found.worker = asyncio.ensure_future(work())

        return deliver

    async def _work(
        self, found: Subscription, buffer: Buffer, handler: Callable[[Event], Awaitable[object]]
    ) -> None:
        handled = 0
        while (event := await buffer.get()) is not None:
            try:
                await handler(event)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                self._handler_failed(found, event, RuntimeError(f"the handler was cancelled {error}".strip()))
            except Exception as error:  # noqa: BLE001 - a handler is somebody else's code
                self._handler_failed(found, event, error)
            handled += 1
            if not handled % _BREATH:
                await asyncio.sleep(0)

    def _handler_failed(self, found: Subscription, event: Event, error: Exception) -> None:
        found.handler_errors += 1
        self._tell(found, event, error)

    def _filter_failed(self, found: Subscription, event: Event, error: Exception) -> None:
        found.filter_errors += 1
        found.failures_in_a_row += 1
        self._tell(found, event, error)
        if found.failures_in_a_row >= self._filter_failures and not found.disabled:
            found.disabled = (
                f"its filter raised {type(error).__name__} {found.failures_in_a_row} times in a row"
            )
            self._plans = {}
            log.error("subscription_disabled", subscription=found.name, error=type(error).__name__)
            told = {"subscription": found.name, "reason": found.disabled, "errors": found.filter_errors}
            self._own.append(Event(EventType.SUBSCRIPTION_DISABLED, self._source, told))

    def _tell(self, found: Subscription, event: Event, error: Exception) -> None:
        if self._on_error is None:
            log.warning("subscription_failed", subscription=found.name, error=type(error).__name__)
            return
        try:
            self._on_error(found, event, error)
        except Exception as own:  # noqa: BLE001 - whoever is told of errors must not make new ones
            log.error("error_callback_failed", subscription=found.name, error=type(own).__name__)

    def _close(self, found: Subscription) -> None:
        if found.is_closed:
            return
        found.is_closed = True
        del self._entries[found.name]
        self._plans = {}
        for place, count in enumerate(
            (found.delivered, found.handler_errors, found.undecided, found.filter_errors, found.dropped)
        ):
            self._past[place] += count
        if found.buffer is not None:
            found.buffer.close(keep=found.worker is None)
        if found.worker is not None and found.worker is not asyncio.current_task():
            found.worker.cancel()


def _called(found: Subscription, handler: Callable[[Event], object], failed: OnError) -> Deliver:
    def deliver(event: Event) -> None:
        if found.is_closed:
            return
        found.delivered += 1
        try:
            handler(event)
        except Exception as error:  # noqa: BLE001 - a handler is somebody else's code
            failed(found, event, error)

    return deliver


def _is_async(handler: object) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - what is asked is how the call runs
    )
