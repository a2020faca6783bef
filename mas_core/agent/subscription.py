"""A subscription: reads the logs of all topics that match a pattern, and gives their messages one by one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Protocol, Self

import msgspec

from mas_core.agent.topic_place import KeyUnknown, TopicPlace
from mas_core.base.fair_queue import FairQueue
from mas_core.base.logs import get_logger
from mas_core.base.resources import matches_name
from mas_core.errors import DecryptionFailed, Forbidden, MasError, NotStarted
from mas_core.model.message import UNAUTHENTIC_DELIVERY, AgentMessage, Delivery
from mas_core.model.priority import LANE_WEIGHTS, lane_of
from mas_core.model.topic import GONE_MS, ToldTopic, TopicGap
from mas_core.store.topics import RELEASED, LogEntry, TopicLogs, partition_of_topic

log = get_logger(__name__)

NOW: Final = "now"
BEGINNING: Final = "beginning"
MAX_WAITING: Final = 2_000
"""Messages that were read and wait; more stay in the log."""
_BLOCK_MS: Final = 1000
_RECONNECT_S: Final = 0.3
_FORGED_S: Final = 0.5


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


class Desk(Protocol):
    """What a subscription needs of its client."""

    group: str
    instance: str
    namespace: str
    logs: TopicLogs

    def now_ms(self) -> int:
        """The server's clock."""

    async def add(self, subscription: Subscription) -> None:
        """Ask for what the subscription wants, now and from then on."""

    async def remove(self, subscription: Subscription) -> None:
        """Ask for it no more."""

    async def refresh(self) -> None:
        """Ask again, unless that was just done."""

    def report(self, topic: str, entry: str, code: str, message_id: str = "") -> None:
        """Tell the gateway what is wrong with an entry."""

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
        self._start = start
        self._on_gap = on_gap
        self._most = most
        self._group = f"{desk.group}/{pattern}"
        self._places: dict[str, TopicPlace] = {}
        self._waiting: FairQueue[Heard] = FairQueue(LANE_WEIGHTS)
        self._in_hand: set[tuple[str, str]] = set()
        """Topic and entry of what was read and is not done."""
        self._done: list[tuple[int, str, str]] = []
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._acknowledging: asyncio.Task[None] | None = None
        self._changed: dict[int, asyncio.Event] = {}
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while something of a partition is read that others of the group do not get then."""
        self._room = asyncio.Event()
        self._room.set()
        self._there = asyncio.Event()
        self._acks = asyncio.Event()
        self._since = 0
        self._current: Heard | None = None
        self._failure: MasError | None = None
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
            if self.durable:
                self._acknowledging = asyncio.create_task(self._acknowledge())
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
        tasks = [*self._readers.values(), *([self._acknowledging] if self._acknowledging else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._readers.clear()
        if self.durable:
            with contextlib.suppress(MasError):
                await self._flush()
                places = [(place.partition, name) for name, place in self._places.items()]
                await self._desk.logs.leave(places, self._group, self._desk.instance)
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
                self._room.set()
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
            self._let_go(frame.partition, frame.topic, frame.entry)

    def _let_go(self, partition: int, topic: str, entry: str) -> None:
        self._in_hand.discard((topic, entry))
        if self.durable:
            self._done.append((partition, topic, entry))
            self._acks.set()

    # What the desk hears

    def fits(self, topic: str) -> bool:
        """Whether a topic is one of those that it wants."""
        return matches_name(self.pattern, topic)

    def refused(self, reasons: list[str]) -> None:
        """Nothing that matches may be read."""
        self._fail(Forbidden(reasons[0], hint=tuple(reasons[1:])))

    def lost(self, topic: str) -> None:
        """A topic may not be read any more."""
        if self._places.pop(topic, None) is None:
            return
        log.error("topic.lost", topic=topic, agent=self._desk.group, reason="it may not be read any more")
        if topic == self.pattern:
            self.refused([f"Authorization denied: {self._desk.group} may not read {topic} any more"])

    def topics(self) -> list[str]:
        """The topics that it reads."""
        return list(self._places)

    def follow_layout(self) -> None:
        """Topics may lie elsewhere now, with all that is known of them."""
        for name, place in self._places.items():
            partition = partition_of_topic(name, self._desk.logs.partitions)
            if place.partition != partition:
                self._changed[place.partition].set()
                place.partition = partition
                self._read_in(partition)

    async def told(self, topic: ToldTopic, since: int) -> None:
        """The gateway tells of a topic that it may read.

        Args:
            topic: The topic and its keys.
            since: Since when the agent keeps its place, where it does, in Unix milliseconds.
        """
        place = self._places.get(topic.name)
        if place is not None:
            place.take_keys(topic.keys)
            return
        began = since if self.durable else self._since
        partition = partition_of_topic(topic.name, self._desk.logs.partitions)
        after, expected = self._first_place(topic, is_new=0 < began <= topic.created)
        if self.durable:
            given = await self._desk.logs.create_group(partition, topic.name, self._group, f"{after}-0")
            if given != after:
                after, expected = given, given + 1
        self._places[topic.name] = TopicPlace(self._desk.namespace, partition, topic, after, expected)
        self._read_in(partition)

    def _read_in(self, partition: int) -> None:
        """Read what there is to read in a partition, also what is new."""
        changed = self._changed.get(partition)
        if changed is None:
            changed = self._changed[partition] = asyncio.Event()
            read = self._read_durable if self.durable else self._read_live
            self._readers[partition] = asyncio.create_task(read(partition, changed))
        changed.set()

    def began(self, now: int) -> None:
        """The gateway has told of all topics that there were."""
        self._since = self._since or now

    def _first_place(self, topic: ToldTopic, *, is_new: bool) -> tuple[int, int]:
        """The last message that is not wanted, and the next; 0 where any is welcome."""
        if is_new:
            return 0, 1
        if self._start == BEGINNING:
            return 0, 0
        if self._start == NOW:
            return topic.last, topic.last + 1
        number = max(1, int(self._start))
        return number - 1, number

    # Reading

    def _topics_in(self, partition: int) -> dict[str, TopicPlace]:
        return {name: place for name, place in self._places.items() if place.partition == partition}

    async def _read_live(self, partition: int, changed: asyncio.Event) -> None:
        while True:
            await self._room.wait()
            changed.clear()
            places = self._topics_in(partition)
            if not places:
                await changed.wait()
                continue
            positions = {name: place.position for name, place in places.items()}
            try:
                found = await _unless(changed, self._desk.logs.read(partition, positions, _BLOCK_MS))
            except MasError as error:
                log.warning("store.unavailable", agent=self._desk.group, reason=error.message)
                await asyncio.sleep(_RECONNECT_S)
                continue
            is_news = False
            for entry in found or ():
                if entry.entry not in places[entry.topic].forged:
                    is_news = True
                    await self._take_entry(entry)
            if found and not is_news:
                # What is forged is given again and again until the gateway puts something in its place.
                await asyncio.sleep(_FORGED_S)

    async def _read_durable(self, partition: int, changed: asyncio.Event) -> None:
        looked_back: set[str] = set()
        desk = self._desk
        while True:
            await self._room.wait()
            changed.clear()
            names = list(self._topics_in(partition))
            if not names:
                await changed.wait()
                continue
            try:
                async with self._turns[partition]:
                    for name in names:
                        if name not in looked_back:
                            # What others left, and what was given to us with an answer that never came.
                            await self._take_over(partition, name)
                            await self._take_own(partition, name)
                            looked_back.add(name)
                    reading = desk.logs.read_group(partition, names, self._group, desk.instance, _BLOCK_MS)
                    found = await _unless(changed, reading)
                    for entry in found or ():
                        await self._take_entry(entry)
                if found is None:
                    looked_back.clear()
            except MasError as error:
                log.warning("store.unavailable", agent=desk.group, reason=error.message)
                looked_back.clear()
                await asyncio.sleep(_RECONNECT_S)
                # The log may lie in another partition now.
                await desk.refresh()
                with contextlib.suppress(MasError):
                    await self._create_groups(partition)

    async def _create_groups(self, partition: int) -> None:
        """Where a log was made anew, the group has to be as well."""
        for name, place in self._topics_in(partition).items():
            await self._desk.logs.create_group(partition, name, self._group, place.position)

    async def _take_own(self, partition: int, name: str) -> None:
        for entry in await self._desk.logs.read_own(partition, name, self._group, self._desk.instance):
            if (name, entry.entry) not in self._in_hand and (partition, name, entry.entry) not in self._done:
                await self._take_entry(entry, is_new=False)

    async def look_after(self) -> None:
        """Take over what instances of the agent had in hand that are gone, and say that this one is not."""
        if not self.durable:
            return
        for name, place in list(self._places.items()):
            with contextlib.suppress(MasError):
                async with self._turns[place.partition]:
                    await self._take_over(place.partition, name)
                    # Also lets the others see that this one is there, though it has room for nothing.
                    await self._take_own(place.partition, name)

    async def _take_over(self, partition: int, name: str) -> None:
        logs, own = self._desk.logs, self._desk.instance
        for consumer in await logs.consumers(partition, name, self._group):
            is_gone = consumer.name == RELEASED or consumer.idle_ms > GONE_MS
            if consumer.name != own and is_gone:
                await logs.take_over(partition, name, self._group, own, consumer.name)

    async def _take_entry(self, found: LogEntry, *, is_new: bool = True) -> None:
        place = self._places.get(found.topic)
        if place is None:
            return
        number = int(found.entry.partition("-")[0])
        if found.is_gone:
            self._note_gap(TopicGap(found.topic, number, number))
            self._let_go(place.partition, found.topic, found.entry)
            return
        try:
            try:
                deliveries, gap = place.open(found, is_new=is_new)
            except KeyUnknown:
                await self._desk.refresh()
                if found.topic not in self._places:
                    return
                deliveries, gap = place.open(found, is_new=is_new)
        except (DecryptionFailed, KeyUnknown) as error:
            reason = str(error) or "it is sealed under a key that the topic does not have"
            log.error("topic.refused", topic=found.topic, entry=found.entry, reason=reason)
            self._desk.report(found.topic, found.entry, UNAUTHENTIC_DELIVERY)
            place.pass_over(found.entry)
            self._let_go(place.partition, found.topic, found.entry)
            return
        if gap is not None:
            self._note_gap(gap)
        self._in_hand.add((found.topic, found.entry))
        frame = _Frame(place.partition, found.topic, found.entry, len(deliveries))
        first = number - len(deliveries) + 1
        lanes: dict[str, list[Heard]] = {}
        for at, delivery in enumerate(deliveries):
            lanes.setdefault(lane_of(delivery.priority), []).append(Heard(delivery, first + at, frame))
        for lane, heard in lanes.items():
            self._waiting.extend(lane, heard)
        if len(self._waiting) >= self._most:
            self._room.clear()
        self._wake()

    def _note_gap(self, gap: TopicGap) -> None:
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

    # Acknowledging

    async def _acknowledge(self) -> None:
        while True:
            await self._acks.wait()
            self._acks.clear()
            # What is handled in this turn of the loop goes with it.
            await asyncio.sleep(0)
            try:
                await self._flush()
            except MasError as error:
                log.warning("store.unavailable", agent=self._desk.group, reason=error.message)
                await asyncio.sleep(_RECONNECT_S)
                self._acks.set()

    async def _flush(self) -> None:
        done = list(self._done)
        if done:
            await self._desk.logs.acknowledge(done, self._group)
            del self._done[: len(done)]


async def _unless(
    changed: asyncio.Event, reading: Coroutine[Any, Any, list[LogEntry]]
) -> list[LogEntry] | None:
    """What is read; None when what is to be read has changed first."""
    task = asyncio.create_task(reading)
    waiting = asyncio.create_task(changed.wait())
    try:
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, waiting):
            if not one.done():
                one.cancel()
                with contextlib.suppress(asyncio.CancelledError, MasError):
                    await one
