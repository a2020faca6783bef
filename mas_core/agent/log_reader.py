"""Reads the logs of the topics of one subscription, live or from a place that the agent keeps."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol

from mas_core.agent.topic_place import KeyUnknown, TopicPlace
from mas_core.base.logs import get_logger
from mas_core.errors import DecryptionFailed, MasError
from mas_core.model.message import UNAUTHENTIC_DELIVERY, Delivery
from mas_core.model.topic import GONE_MS, ToldTopic, TopicGap
from mas_core.store.contract import TopicReading
from mas_core.store.topics import RELEASED, LogEntry, partition_of_topic

log = get_logger(__name__)

NOW: Final = "now"
BEGINNING: Final = "beginning"
_BLOCK_MS: Final = 1000
_RECONNECT_S: Final = 0.3
_FORGED_S: Final = 0.5


class ReadingDesk(Protocol):
    """What reading needs of its client."""

    group: str
    instance: str
    namespace: str
    logs: TopicReading

    async def refresh(self) -> None:
        """Ask for topics and keys again, unless that was just done."""

    def report(self, topic: str, entry: str, code: str, message_id: str = "") -> None:
        """Tell the gateway what is wrong with an entry."""


class Sink(Protocol):
    """Gets what is read."""

    room: asyncio.Event
    """Set while more is wanted."""

    def put(self, partition: int, found: LogEntry, deliveries: Sequence[Delivery], last: int) -> None:
        """Take messages; `last` is the number of the last one. `LogReader.let_go` says that they are handled."""

    def note_gap(self, gap: TopicGap) -> None:
        """Messages are missing."""


class LogReader:
    """Reads for one subscription.

    Args:
        desk: The client's.
        sink: Gets what is read.
        group: Name of the group that keeps the place; empty for a live subscription.
        start: Where topics are read from that are there already: `now`, `beginning`, or the number of a message.
    """

    def __init__(self, desk: ReadingDesk, sink: Sink, group: str, start: str | int) -> None:
        self.places: dict[str, TopicPlace] = {}
        """Name of a topic -> how far it was read."""
        self._desk = desk
        self._sink = sink
        self._group = group
        self._start = start
        self._since = 0
        self._in_hand: set[tuple[str, str]] = set()
        """Topic and entry of what was read and is not done."""
        self._done: list[tuple[int, str, str]] = []
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._acknowledging: asyncio.Task[None] | None = None
        self._changed: dict[int, asyncio.Event] = {}
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while something of a partition is read that others of the group do not get then."""
        self._acks = asyncio.Event()

    def start(self) -> None:
        """Begin; topics come by and by."""
        if self._group:
            self._acknowledging = asyncio.create_task(self._acknowledge())

    def kill(self) -> list[asyncio.Task[None]]:
        """Stop all that is going on; nothing is acknowledged or handed over any more."""
        tasks = [*self._readers.values(), *([self._acknowledging] if self._acknowledging else [])]
        for task in tasks:
            task.cancel()
        return tasks

    async def stop(self) -> None:
        """End: what is handled is acknowledged, and what is not goes to others of the group."""
        await asyncio.gather(*self.kill(), return_exceptions=True)
        self._readers.clear()
        if self._group:
            with contextlib.suppress(MasError):
                await self._flush()
                places = [(place.partition, name) for name, place in self.places.items()]
                await self._desk.logs.leave(places, self._group, self._desk.instance)

    # Topics

    def began(self, now: int) -> None:
        """The gateway has told of all topics that there were."""
        self._since = self._since or now

    async def told(self, topic: ToldTopic, since: int) -> None:
        """The gateway tells of a topic that it may read.

        Args:
            topic: The topic and its keys.
            since: Since when the agent keeps its place, where it does, in Unix milliseconds.
        """
        place = self.places.get(topic.name)
        is_anew = place is not None and place.is_before(topic)
        if place is not None and not is_anew:
            place.take_keys(topic.keys)
            return
        began = since if self._group else self._since
        partition = partition_of_topic(topic.name, self._desk.logs.partitions)
        after, expected = self._first_place(topic, is_new=is_anew or 0 < began <= topic.created)
        if is_anew:
            log.warning("topic.anew", topic=topic.name, reason="its log was lost, and has begun again")
            del self.places[topic.name]
            if self._group:
                await self._desk.logs.drop_group(partition, topic.name, self._group)
        if self._group:
            try:
                given = await self._desk.logs.create_group(partition, topic.name, self._group, f"{after}-0")
            except MasError:
                if place is not None:
                    # The next time, too, it has begun anew.
                    self.places.setdefault(topic.name, place)
                raise
            if (place := self.places.get(topic.name)) is not None:
                # News and an answer came at the same time.
                place.take_keys(topic.keys)
                return
            if given != after:
                after, expected = given, given + 1
        self.places[topic.name] = TopicPlace(self._desk.namespace, partition, topic, after, expected)
        self._read_in(partition)

    def lose(self, topic: str) -> bool:
        """Read a topic no more; whether it was read."""
        return self.places.pop(topic, None) is not None

    def follow_layout(self) -> None:
        """Topics may lie elsewhere now, with all that is known of them."""
        for name, place in self.places.items():
            partition = partition_of_topic(name, self._desk.logs.partitions)
            if place.partition != partition:
                self._changed[place.partition].set()
                place.partition = partition
                self._read_in(partition)

    def _read_in(self, partition: int) -> None:
        """Read what there is to read in a partition, also what is new."""
        changed = self._changed.get(partition)
        if changed is None:
            changed = self._changed[partition] = asyncio.Event()
            read = self._read_durable if self._group else self._read_live
            self._readers[partition] = asyncio.create_task(read(partition, changed))
        changed.set()

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
        return {name: place for name, place in self.places.items() if place.partition == partition}

    async def _read_live(self, partition: int, changed: asyncio.Event) -> None:
        while True:
            await self._sink.room.wait()
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
            await self._sink.room.wait()
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
        if not self._group:
            return
        for name, place in list(self.places.items()):
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
        place = self.places.get(found.topic)
        if place is None:
            return
        number = int(found.entry.partition("-")[0])
        if found.is_gone:
            self._sink.note_gap(TopicGap(found.topic, number, number))
            self.let_go(place.partition, found.topic, found.entry)
            return
        try:
            try:
                deliveries, gap = place.open(found, is_new=is_new)
            except KeyUnknown:
                await self._desk.refresh()
                if self.places.get(found.topic) is not place:
                    return
                deliveries, gap = place.open(found, is_new=is_new)
        except (DecryptionFailed, KeyUnknown) as error:
            reason = str(error) or "it is sealed under a key that the topic does not have"
            log.error("topic.refused", topic=found.topic, entry=found.entry, reason=reason)
            self._desk.report(found.topic, found.entry, UNAUTHENTIC_DELIVERY)
            place.pass_over(found.entry)
            self.let_go(place.partition, found.topic, found.entry)
            return
        if gap is not None:
            self._sink.note_gap(gap)
        self._in_hand.add((found.topic, found.entry))
        self._sink.put(place.partition, found, deliveries, number)

    def let_go(self, partition: int, topic: str, entry: str) -> None:
        """All messages of an entry were handled."""
        self._in_hand.discard((topic, entry))
        if self._group:
            self._done.append((partition, topic, entry))
            self._acks.set()

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
        if left := [one for one in (task, waiting) if not one.done()]:
            for one in left:
                one.cancel()
            # Not awaited one by one: whoever ends this reader at this moment must not be overheard.
            await asyncio.wait(left)
            for one in left:
                if not one.cancelled():
                    one.exception()
