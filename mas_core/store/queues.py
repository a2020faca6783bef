"""Inboxes as operators see them: what instances have in hand, what waits, and how many come again later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mas_core.base.ids import AGENT_ID, partition_of
from mas_core.model.frame import Frame
from mas_core.model.priority import LANES
from mas_core.model.queue_order import RELEASED, TRIMMER, trim_name
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.stored import frame_of
from mas_core.store.wire import Argument

FIRST = "-"
"""Before all entries."""
AGENTS_AT_ONCE = 500
"""Agents that are looked at in one round trip."""
FRAMES_COUNTED = 1000
"""Frames in hand of one lane whose messages are counted; of more each counts as one message."""
NAMES_AT_ONCE = 1000
FRAMES_RELEASED = 1000
"""Frames of a lane that are taken from instances at a time; as many are looked at by those who take over."""


@dataclass(frozen=True, slots=True)
class StoredInHand:
    """A frame that an instance has read and not settled; nothing of it is proven."""

    lane: str
    entry: str
    consumer: str
    idle_ms: int
    """Since the instance read it, or another took it over."""
    deliveries: int
    """How often it was given to an instance."""
    frame: Frame
    marks: str
    """One character a message, "." open and "x" settled; empty when none is settled."""
    starts: str
    """Which instances have started its messages, as they noted it."""


@dataclass(frozen=True, slots=True)
class StoredWaiting:
    """A frame that no instance has read; nothing of it is proven."""

    lane: str
    entry: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class StoredLane:
    """One lane of an inbox."""

    lane: str
    unsettled: int
    """Messages delivered and not settled."""
    oldest: int
    """When its oldest frame was delivered, in Unix milliseconds by the server's clock; 0 when there is none."""
    frames_in_hand: int
    in_hand: tuple[StoredInHand, ...]
    """At most FRAMES_COUNTED of them, without their bodies."""


@dataclass(frozen=True, slots=True)
class StoredQueue:
    """The inbox of one agent."""

    agent_id: str
    handled: int
    """Messages that it has settled itself since it was registered."""
    handed_back: int
    """Messages that the gateway has taken out of it since then: handed back, or moved to the dead letters."""
    lanes: tuple[StoredLane, ...]


@dataclass(frozen=True, slots=True)
class NewTrim:
    """An order about one frame, sealed."""

    id: str
    lane: str
    entry: str
    sealed: bytes


class Queues:
    """The inboxes of one system."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def look(self, agent_ids: Sequence[str]) -> list[StoredQueue]:
        """The inboxes of these agents; only those with a backlog are looked at closely."""
        found: list[StoredQueue] = []
        for first in range(0, len(agent_ids), AGENTS_AT_ONCE):
            found += await self._look(agent_ids[first : first + AGENTS_AT_ONCE])
        return found

    async def _look(self, agent_ids: Sequence[str]) -> list[StoredQueue]:
        counts, close = Pipeline(), Pipeline()
        for agent_id in agent_ids:
            names = ("handled", "handed_back", *(f"unsettled:{lane}" for lane in LANES))
            counts.add("HMGET", self._keys.work(self._partition(agent_id), agent_id), *names)
        numbers = [[_number(value) for value in reply] for reply in await self._connection.run(counts)]
        busy = [
            (agent_id, lane)
            for agent_id, (_, _, *backlog) in zip(agent_ids, numbers, strict=True)
            for lane, count in zip(LANES, backlog, strict=True)
            if count
        ]
        for agent_id, lane in busy:
            inbox, work = self._of(agent_id, lane)
            self._connection.add_script(close, "look_at_streams", [inbox], [])
            self._connection.add_script(
                close, "read_in_hand", [inbox, work], [lane, FIRST, FRAMES_COUNTED, 0]
            )
        replies = await self._connection.run(close) if busy else []
        looked = dict(zip(busy, zip(replies[::2], replies[1::2], strict=True), strict=True))
        return [
            StoredQueue(
                agent_id,
                handled,
                handed_back,
                tuple(
                    _lane(lane, count, looked.get((agent_id, lane)))
                    for lane, count in zip(LANES, backlog, strict=True)
                ),
            )
            for agent_id, (handled, handed_back, *backlog) in zip(agent_ids, numbers, strict=True)
        ]

    async def in_hand(self, agent_id: str, lane: str, after: str, most: int) -> list[StoredInHand]:
        """Frames of a lane that instances have in hand, the oldest first."""
        reply = await self._connection.script(
            "read_in_hand", list(self._of(agent_id, lane)), [lane, after, most, 1]
        )
        return [_in_hand(lane, item) for item in reply]

    async def waiting(
        self, agent_id: str, lane: str, after: str, most: int, *, bodies: bool = True
    ) -> list[StoredWaiting]:
        """Frames of a lane that no instance has read, the next first."""
        inbox, _ = self._of(agent_id, lane)
        reply = await self._connection.script("read_waiting", [inbox], [after, most, int(bodies)])
        return [StoredWaiting(lane, entry.decode(), frame_of(fields)) for entry, fields in reply]

    async def take(self, agent_id: str, lane: str, after: str, to: str, most: int) -> list[str]:
        """Take frames that no instance has read into hand, in order; their entries, the first that are left.

        Args:
            agent_id: Whose.
            lane: Which lane.
            after: Not this entry, nor any before.
            to: Up to this entry.
            most: How many frames.
        """
        inbox, _ = self._of(agent_id, lane)
        pipeline = Pipeline()
        self._connection.add_script(pipeline, "take_waiting", [inbox], [TRIMMER, after, to, most])
        (reply,) = await self._connection.run_safely(pipeline)
        return [entry.decode() for entry in reply]

    async def release(
        self, agent_id: str, lane: str, idle_ms: int, *, dry_run: bool
    ) -> list[tuple[str, str]]:
        """Take frames from instances that have had them for so long; entry and instance of each."""
        inbox, work = self._of(agent_id, lane)
        pipeline = Pipeline()
        arguments: list[Argument] = [lane, idle_ms, FRAMES_RELEASED, RELEASED, TRIMMER, int(not dry_run)]
        self._connection.add_script(pipeline, "release", [work, inbox], arguments)
        (reply,) = await self._connection.run_safely(pipeline)
        return [(entry.decode(), consumer.decode(errors="replace")) for entry, consumer in reply]

    async def order_trims(self, agent_id: str, orders: Sequence[NewTrim]) -> list[bool]:
        """Put orders where the owner of the partition finds them; for each whether its frame was in hand."""
        pipeline = Pipeline()
        partition = self._partition(agent_id)
        later, bodies = self._keys.later(partition), self._keys.later_bodies(partition)
        for number, new in enumerate(orders):
            self._connection.add_script(
                pipeline,
                "order_trim",
                [self._of(agent_id, new.lane)[0], later, bodies],
                [
                    new.entry,
                    TRIMMER,
                    trim_name(agent_id, new.lane, new.entry),
                    new.sealed,
                    f"0.{number % 1000:03d}",
                ],
            )
        return [reply == b"ok" for reply in await self._connection.run_safely(pipeline)]

    async def trim_outcomes(self, agent_id: str, order_ids: Sequence[str]) -> list[bytes | None]:
        """What became of orders; None of those that no owner has taken up."""
        pipeline = Pipeline()
        for order_id in order_ids:
            pipeline.add("HGET", self._keys.letter_order(self._partition(agent_id), order_id), "outcome")
        return list(await self._connection.run(pipeline))

    async def retries(self) -> Counter[str]:
        """Agent -> messages that come to it again later because they failed."""
        found: Counter[str] = Counter()
        for partition in range(self._keys.partitions):
            first = 0
            while names := await self._connection.call(
                "ZRANGE", self._keys.later(partition), first, first + NAMES_AT_ONCE - 1
            ):
                first += len(names)
                # What is scheduled, held or ordered has a slash in its name, and no agent has.
                agents = (name.decode(errors="replace").partition(":")[0] for name in names)
                found.update(name for name in agents if AGENT_ID.fullmatch(name))
        return found

    def _partition(self, agent_id: str) -> int:
        return partition_of(agent_id, self._keys.partitions)

    def _of(self, agent_id: str, lane: str) -> tuple[str, str]:
        partition = self._partition(agent_id)
        return self._keys.inbox(partition, agent_id, lane), self._keys.work(partition, agent_id)


def _lane(lane: str, unsettled: int, looked: Any) -> StoredLane:
    if looked is None:
        return StoredLane(lane, unsettled, 0, 0, ())
    ((_, first, hands),), pending = looked
    oldest = _number(first.partition(b"-")[0]) if first else 0
    return StoredLane(
        lane, unsettled, oldest, sum(map(int, hands[1::2])), tuple(_in_hand(lane, item) for item in pending)
    )


def _in_hand(lane: str, item: Any) -> StoredInHand:
    entry, consumer, idle, deliveries, header, body, marks, starts = item
    return StoredInHand(
        lane,
        entry.decode(),
        consumer.decode(errors="replace"),
        int(idle),
        int(deliveries),
        Frame(header, body),
        marks.decode(errors="replace"),
        starts.decode(errors="replace"),
    )


def _number(value: bytes | None) -> int:
    """A count from a hash that an agent may write itself; what is no number counts for nothing."""
    try:
        return max(0, int(value or 0))
    except ValueError:
        return 0
