"""A subscription: reads the logs of all topics that match a pattern, and gives their messages one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec

from mas_core.agent.log_reader import LogReader, ReadingDesk
from mas_core.base.fair_queue import FairQueue
from mas_core.base.logs import get_logger
from mas_core.base.resources import matches_name
from mas_core.errors import Forbidden, MasError, NotStarted
from mas_core.model.message import AgentMessage, Delivery
from mas_core.model.priority import LANE_WEIGHTS, lane_of
from mas_core.model.topic import TopicGap
from mas_core.store.topics import LogEntry

log = get_logger(__name__)

MAX_WAITING: Final = 2_000
"""Messages that were read and wait; more stay in the log."""


class _Frame(msgspec.Struct, gc=False):
    """An entry of which some messages are not handled."""

    partition: int
    topic: str
    entry: str
    left: int


class Heard(msgspec.Struct, gc=False):
    """One message that was read."""

    delivery: Delivery
    number: int
    """Its number in the topic."""
    frame: _Frame


class Desk(ReadingDesk, Protocol):
    """What a subscription needs of its client."""

    def now_ms(self) -> int:
        """The server's clock."""

    async def add(self, subscription: Subscription) -> None:
        """Ask for what the subscription wants, now and from then on."""

    async def remove(self, subscription: Subscription) -> None:
        """Ask for it no more."""

    async def received(self, delivery: Delivery) -> AgentMessage:
        """A delivery as the message that it is."""


class Subscription:
    """The messages of all topics that match a pattern; an async iterator, and a context that ends it.

    Messages of one topic come in their order within each of the three lanes of priority, and lanes by their weights
    as in an inbox. A durable subscription keeps its place in the store: all instances of the agent share it, each
    message goes to one of them, and counts as handled when the next one is asked for; what an instance had in hand
    when it died comes again to another.

    Args:
        desk: The client's.
        pattern: `orders.created`, `orders.*` for one more word, `orders.>` for one or more.
        durable: Whether the agent keeps its place.
        start: Where topics are read from that are there already: `now`, `beginning`, or the number of a message.
        on_gap: Called where messages are missing that were trimmed before they were read.
    """

    def __init__(
        self,
        desk: Desk,
        pattern: str,
        *,
        durable: bool,
        start: str | int,
        on_gap: Callable[[TopicGap], None] | None = None,
        most: int = MAX_WAITING,
    ) -> None:
        self.pattern = pattern
        self.durable = durable
        self.gaps: list[TopicGap] = []
        """The last hundred gaps."""
        self._desk = desk
        self._on_gap = on_gap
        self._most = most
        self._waiting: FairQueue[Heard] = FairQueue(LANE_WEIGHTS)
        self._there = asyncio.Event()
        self._current: Heard | None = None
        self._failure: MasError | None = None
        self.room = asyncio.Event()
        """Set while more messages are wanted."""
        self.room.set()
        self.reader = LogReader(desk, self, f"{desk.group}/{pattern}" if durable else "", start)
        """Reads the logs."""
        self.on_message: Callable[[], None] | None = None
        """Called when there is something to take."""
        self.is_started = False

    # Life

    async def start(self) -> Self:
        """Begin; when this returns, everything that is published from now on will be heard.

        Raises:
            Forbidden: Nothing that matches may be read.
            GatewayDown: No gateway answers.
        """
        if not self.is_started:
            self.is_started = True
            self.reader.start()
            try:
                await self._desk.add(self)
            except BaseException:
                await self.stop()
                raise
            if self._failure is not None:
                failure = self._failure
                await self.stop()
                raise failure
        return self

    async def stop(self) -> None:
        """End; what was read and not handled comes again, where the subscription is durable."""
        if not self.is_started:
            return
        self.is_started = False
        if self._failure is None:
            self._failure = NotStarted("the subscription has ended")
        await self._desk.remove(self)
        await self.reader.stop()
        self._wake()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._current is not None and kind is None:
            self.done(self._current)
            self._current = None
        await self.stop()

    # Messages

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AgentMessage:
        if isinstance(self._failure, NotStarted):
            raise StopAsyncIteration
        await self.start()
        if self._current is not None:
            self.done(self._current)
            self._current = None
        while True:
            heard = self.take()
            if heard is None:
                if self._failure is not None:
                    if isinstance(self._failure, NotStarted):
                        raise StopAsyncIteration
                    raise self._failure
                self._there.clear()
                await self._there.wait()
                continue
            message = await self.message_of(heard)
            if message is None:
                continue
            self._current = heard
            return message

    def take(self) -> Heard | None:
        """The message that is next, if one is there; `done` says that it was handled."""
        now = self._desk.now_ms()
        while self._waiting:
            heard = self._waiting.take()
            if len(self._waiting) * 2 <= self._most:
                self.room.set()
            if heard.delivery.expires_at > now:
                return heard
            self.done(heard)
        return None

    async def message_of(self, heard: Heard) -> AgentMessage | None:
        """What was heard as a message; None, and it is done with, where its signature is not right."""
        try:
            message = await self._desk.received(heard.delivery)
        except MasError as error:
            frame = heard.frame
            log.error("topic.refused", topic=frame.topic, entry=frame.entry, reason=error.message)
            self.report(heard, error.code)
            self.done(heard)
            return None
        message.number = heard.number
        return message

    def report(self, heard: Heard, code: str) -> None:
        """Let it be recorded that a message could not be handled."""
        self._desk.report(heard.frame.topic, heard.frame.entry, code, heard.delivery.id)

    @property
    def waiting(self) -> int:
        """Messages that were read and wait."""
        return len(self._waiting)

    def done(self, heard: Heard) -> None:
        """Say that a message was handled; with the last one of its frame the frame is."""
        frame = heard.frame
        frame.left -= 1
        if frame.left == 0:
            self.reader.let_go(frame.partition, frame.topic, frame.entry)

    # What the desk hears

    def fits(self, topic: str) -> bool:
        """Whether a topic is one of those that it wants."""
        return matches_name(self.pattern, topic)

    def refused(self, reasons: list[str]) -> None:
        """Nothing that matches may be read."""
        self._fail(Forbidden(reasons[0], hint=tuple(reasons[1:])))

    def lost(self, topic: str) -> None:
        """A topic may not be read any more."""
        if not self.reader.lose(topic):
            return
        log.error("topic.lost", topic=topic, agent=self._desk.group, reason="it may not be read any more")
        if topic == self.pattern:
            self.refused([f"Authorization denied: {self._desk.group} may not read {topic} any more"])

    # What is read

    def put(self, partition: int, found: LogEntry, deliveries: Sequence[Delivery], last: int) -> None:
        """Take the messages of an entry, of which the last has this number."""
        frame = _Frame(partition, found.topic, found.entry, len(deliveries))
        first = last - len(deliveries) + 1
        lanes: dict[str, list[Heard]] = {}
        for at, delivery in enumerate(deliveries):
            lanes.setdefault(lane_of(delivery.priority), []).append(Heard(delivery, first + at, frame))
        for lane, heard in lanes.items():
            self._waiting.extend(lane, heard)
        if len(self._waiting) >= self._most:
            self.room.clear()
        self._wake()

    def note_gap(self, gap: TopicGap) -> None:
        """Messages were trimmed before they were read."""
        log.warning("topic.gap", topic=gap.topic, first=gap.first, last=gap.last)
        self.gaps = [*self.gaps[-99:], gap]
        if self._on_gap is not None:
            self._on_gap(gap)

    def _wake(self) -> None:
        self._there.set()
        if self.on_message is not None:
            self.on_message()

    def _fail(self, error: MasError) -> None:
        self._failure = error
        self._wake()
