"""Queues: what waits for agents, what their instances have in hand, and how fast it moves.

A queue is an agent's inbox. What lies in it is sealed for the agent; operators see into it with the gateway's keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from mas_core.errors import AgentNotFound, DecryptionFailed, SecretUnavailable
from mas_core.model.frame import MAX_DELIVERY_MESSAGES, Frame
from mas_core.model.message import Delivery, Payload
from mas_core.model.priority import LANES
from mas_core.model.registration import Registration
from mas_core.ops.system import System
from mas_core.security.inbox_frames import open_inbox_frame
from mas_core.security.seals import read_header
from mas_core.store.queues import FIRST, StoredInHand, StoredLane, StoredQueue, StoredWaiting

_PAGE = 16
"""Frames that are read at a time; each may be large."""
_Stored = TypeVar("_Stored", StoredInHand, StoredWaiting)


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of a queue, or all of them together."""

    waiting: int
    """Messages that no instance has read."""
    in_hand: int
    """Messages that instances have read and not settled."""
    oldest: float | None
    """Seconds since the oldest of both was delivered; None when there is none."""
    deliveries: int
    """How often the most often given of those in hand was given to an instance."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of one agent."""

    agent_id: str
    total: Lane
    lanes: Mapping[str, Lane]
    consumers: Mapping[str, int]
    """Instance -> messages that it has in hand."""
    idle: float | None
    """Seconds since the instance that has waited longest with something in hand was given it."""
    retries: int
    """Messages that come again later, because they failed."""
    left: int
    """Messages that left the queue since the agent was registered."""
    in_rate: float | None = None
    """Messages a second that came since the look before; None without one."""
    out_rate: float | None = None

    @property
    def size(self) -> int:
        """Messages in it."""
        return self.total.waiting + self.total.in_hand

    @property
    def lag(self) -> float | None:
        """Seconds until what waits is worked off at the rate of now; None when nothing moves."""
        return self.total.waiting / self.out_rate if self.out_rate else None


@dataclass(frozen=True, slots=True)
class Look:
    """The queues at one moment."""

    at: int
    """Unix milliseconds by the server's clock."""
    queues: Mapping[str, Queue]


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in a queue, or a whole frame that cannot be opened here."""

    lane: str
    entry: str
    """Place of its frame in the stream of the lane."""
    position: int
    """Place in the frame, from 0."""
    age: float
    """Seconds since it was delivered."""
    message: Delivery | None
    """None where the frame cannot be opened."""
    count: int = 1
    """Messages that this stands for; more than 1 only of a frame that cannot be opened."""
    consumer: str = ""
    """The instance that has it in hand; empty while it waits."""
    idle: float | None = None
    """Seconds since that instance was given it."""
    deliveries: int = 0
    """How often it was given to an instance."""
    problem: str = ""
    """Why the frame cannot be opened."""

    @property
    def payload(self) -> Payload | None:
        """The payload, as it was delivered."""
        if self.message is None:
            return None
        value: Payload = msgspec.json.decode(self.message.data, type=dict[str, object])
        return value


@dataclass(frozen=True, slots=True)
class Sought:
    """Which messages of a queue; everything that is left out fits."""

    in_hand_only: bool = False
    idle_s: float = 0.0
    """Only in hand for at least so long."""
    lanes: Sequence[str] = field(default=LANES)


async def look(system: System, agents: Sequence[str] = (), before: Look | None = None) -> Look:
    """Look at queues; with an earlier look also at how fast they move.

    Args:
        system: The system.
        agents: Whose; everybody's when left out.
        before: What an earlier look found.

    Raises:
        AgentNotFound: There is no such agent.
    """
    names = await system.store.records.agent_ids()
    for name in agents:
        if name not in names:
            raise _no_agent(name)
    at = await system.store.connection.time_ms()
    retries = await system.store.queues.retries()
    found = await system.store.queues.look(list(agents) or names)
    queues = {stored.agent_id: _queue(stored, retries[stored.agent_id], at) for stored in found}
    if before is not None and at > before.at:
        seconds = (at - before.at) / 1000
        queues = {name: _moving(queue, before.queues.get(name), seconds) for name, queue in queues.items()}
    return Look(at, queues)


async def inspect(
    system: System, agent_id: str, sought: Sought | None = None, *, most: int = 100
) -> list[QueuedMessage]:
    """The messages of a queue: those in hand first, then those that wait, each by lane and age.

    Without the gateway's keys a frame is one row, and nothing is known of its messages.

    Args:
        system: The system.
        agent_id: Whose queue.
        sought: Which of them.
        most: How many at most; 0 for all.

    Raises:
        AgentNotFound: There is no such agent.
    """
    sought = sought or Sought()
    opener = await _Opener.of(system, agent_id)
    found: list[QueuedMessage] = []
    async for message in _messages(system, agent_id, sought, opener):
        found.append(message)
        if len(found) == most:
            break
    return found


async def require_agent(system: System, agent_id: str) -> None:
    """Make sure that there is such an agent; it needs no keys.

    Raises:
        AgentNotFound: There is not.
    """
    if agent_id not in await system.store.records.agent_ids():
        raise _no_agent(agent_id)


class _Opener:
    """Opens the frames of one agent's inbox, where the keys are at hand."""

    def __init__(self, system: System, agent_id: str, registration: Registration | None) -> None:
        self._system = system
        self._agent_id = agent_id
        self._registration = registration

    @classmethod
    async def of(cls, system: System, agent_id: str) -> _Opener:
        try:
            registration = (await system.registry.get(agent_id)).registration
        except SecretUnavailable:
            await require_agent(system, agent_id)
            return cls(system, agent_id, None)
        return cls(system, agent_id, registration)

    def open(self, lane: str, frame: Frame) -> list[Delivery] | str:
        """The messages of a frame, or why they cannot be had."""
        if self._registration is None:
            return "the gateway's keys are not at hand"
        try:
            return open_inbox_frame(
                self._system.keys, self._system.store.namespace, self._registration, lane, frame
            )
        except DecryptionFailed:
            return "no gateway of this system sealed it for a key that is known"


async def _messages(
    system: System, agent_id: str, sought: Sought, opener: _Opener
) -> AsyncIterator[QueuedMessage]:
    queues = system.store.queues
    now = await system.store.connection.time_ms()
    for lane in sought.lanes:
        async for held in _pages(queues.in_hand, agent_id, lane):
            if held.idle_ms < sought.idle_s * 1000:
                continue
            for message in _opened(opener, lane, held.entry, held.frame, now, held.marks):
                yield replace(
                    message,
                    consumer=held.consumer,
                    idle=held.idle_ms / 1000,
                    deliveries=held.deliveries,
                )
    if sought.in_hand_only or sought.idle_s:
        return
    for lane in sought.lanes:
        async for waiting in _pages(queues.waiting, agent_id, lane):
            for message in _opened(opener, lane, waiting.entry, waiting.frame, now):
                yield message


async def _pages(
    read: Callable[[str, str, str, int], Coroutine[None, None, list[_Stored]]], agent_id: str, lane: str
) -> AsyncIterator[_Stored]:
    after = FIRST
    while page := await read(agent_id, lane, after, _PAGE):
        for item in page:
            yield item
        after = page[-1].entry


def _opened(
    opener: _Opener, lane: str, entry: str, frame: Frame, now: int, marks: str = ""
) -> list[QueuedMessage]:
    age = max(0, now - int(entry.partition("-")[0])) / 1000
    messages = opener.open(lane, frame)
    if isinstance(messages, str):
        return [QueuedMessage(lane, entry, 0, age, None, frame_count(frame, marks), problem=messages)]
    return [
        QueuedMessage(lane, entry, position, age, message)
        for position, message in enumerate(messages)
        if marks[position : position + 1] != "x"
    ]


def frame_count(frame: Frame, marks: str = "") -> int:
    """Open messages of a frame as its header says; at least one."""
    try:
        count = read_header(frame).count
    except DecryptionFailed:
        return 1
    return max(1, min(count, MAX_DELIVERY_MESSAGES) - marks.count("x"))


def _queue(stored: StoredQueue, retries: int, at: int) -> Queue:
    consumers: dict[str, int] = {}
    for lane in stored.lanes:
        for held in lane.in_hand:
            consumers[held.consumer] = consumers.get(held.consumer, 0) + frame_count(held.frame, held.marks)
    lanes = {lane.lane: _lane(lane, at) for lane in stored.lanes}
    ages = [lane.oldest for lane in lanes.values() if lane.oldest is not None]
    total = Lane(
        sum(lane.waiting for lane in lanes.values()),
        sum(lane.in_hand for lane in lanes.values()),
        max(ages, default=None),
        max(lane.deliveries for lane in lanes.values()),
    )
    idles = [held.idle_ms / 1000 for lane in stored.lanes for held in lane.in_hand]
    left = stored.handled + stored.handed_back
    return Queue(stored.agent_id, total, lanes, consumers, max(idles, default=None), retries, left)


def _lane(stored: StoredLane, at: int) -> Lane:
    counted = sum(frame_count(held.frame, held.marks) for held in stored.in_hand)
    in_hand = min(stored.unsettled, counted + max(0, stored.frames_in_hand - len(stored.in_hand)))
    return Lane(
        stored.unsettled - in_hand,
        in_hand,
        max(0, at - stored.oldest) / 1000 if stored.oldest else None,
        max((held.deliveries for held in stored.in_hand), default=0),
    )


def _moving(queue: Queue, before: Queue | None, seconds: float) -> Queue:
    if before is None:
        return queue
    left = max(0, queue.left - before.left)
    came = max(0, queue.size - before.size + left)
    return replace(queue, in_rate=came / seconds, out_rate=left / seconds)


def _no_agent(agent_id: str) -> AgentNotFound:
    return AgentNotFound(
        f"Agent not found: {agent_id} is not registered", hint="mas agent list", agent=agent_id
    )
