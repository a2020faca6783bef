"""What an agent does with its own streams: add frames, read, settle, claim, keep state."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from mas_core.base.ids import partition_of
from mas_core.errors import InternalError, LeadershipLost, LockHeld, MasError, StoreUnreachable
from mas_core.model.frame import Frame
from mas_core.model.priority import LANES
from mas_core.store.commits import REPLIES_EXPIRY_MS
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys, Layout
from mas_core.store.layouts import Layouts
from mas_core.store.stored import StoredFrame, frame_of, hash_of
from mas_core.store.wire import Argument

P = ParamSpec("P")
R = TypeVar("R")

GROUP = "agent"
"""Name of the consumer group on every inbox."""
SILENT_MS = 5_000
"""An instance that has room reads its inbox every second."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Messages of one frame that were handled, with the state that the handler left, if any."""

    lane: str
    entry: str
    total: int
    positions: tuple[int, ...]
    expected_revision: int | None = None
    state: bytes = b""
    mark: str = ""
    """Names a single message that may take effect once."""


@dataclass(frozen=True, slots=True)
class ClaimedFrame:
    """A frame taken over from an instance that is gone."""

    lane: str
    entry: str
    frame: Frame
    marks: str
    """One character a message, "." open and "x" settled; empty when none is settled."""


AnyFrame = TypeVar("AnyFrame", StoredFrame, ClaimedFrame)

SETTLED_ELSEWHERE = -1
STATE_CHANGED = -2
HANDLED_BEFORE = -3
"""Settled, but its mark was there already: its state is not written."""
HANDLED_FOR_MS = 2 * 3_600_000
"""How long the mark of a handled message counts; as long as gateways remember decided ids at most."""


LAYOUT_WAIT_S = 5.0
"""How long a call waits for a change of the partitions; callers that go on trying wait for longer ones."""
LAYOUT_LOOK_S = 0.1
MOVES_AT_ONCE = 3
"""How often in one call an agent is followed to another partition."""


def _following(
    method: Callable[Concatenate[AgentStore, P], Awaitable[R]],
) -> Callable[Concatenate[AgentStore, P], Coroutine[Any, Any, R]]:
    """Where an agent was moved to another partition, its old keys refuse everything: find it and try again."""

    @functools.wraps(method)
    async def followed(self: AgentStore, *arguments: P.args, **options: P.kwargs) -> R:
        for left in reversed(range(MOVES_AT_ONCE)):
            if self._located != self._keys.layout.number:
                self._locate()
            try:
                return await method(self, *arguments, **options)
            except InternalError:
                if not left or not await self.follow_layout():
                    raise
        raise InternalError(f"{self.agent_id} is moved all the time")

    return followed  # type: ignore[return-value]  # mypy takes what wraps() makes for no method


class AgentStore:
    """The streams and the state of one agent."""

    def __init__(self, connection: Connection, keys: Keys, agent_id: str, layouts: Layouts) -> None:
        self._connection = connection
        self._keys = keys
        self._layouts = layouts
        self.agent_id = agent_id
        self._locate()

    @property
    def layout(self) -> Layout:
        """The layout in force, as far as it is known here."""
        return self._keys.layout

    def _locate(self) -> None:
        keys, agent_id = self._keys, self.agent_id
        self._located = keys.layout.number
        self.partition = partition_of(agent_id, keys.partitions)
        self._inboxes = {keys.inbox(self.partition, agent_id, lane): lane for lane in LANES}
        self._lane_of = {key.encode(): lane for key, lane in self._inboxes.items()}
        self._work = keys.work(self.partition, agent_id)
        self._state = keys.state(self.partition, agent_id)
        self._handled = keys.handled(self.partition, agent_id)
        self._agent = keys.agent(self.partition, agent_id)

    async def follow_profile(self) -> None:
        """Wait for replicas wherever the gateways of the system do: an agent may not know its profile."""
        replicas = await self._connection.call("HGET", self._keys.meta(self.partition), "replicas")
        if replicas is not None and replicas.isdigit():
            self._connection.replicas = max(self._connection.replicas, int(replicas))

    async def follow_layout(self) -> bool:
        """Go over to the layout in force, waiting while it is being changed.

        Returns:
            Whether there is another than before, or there was a wait.

        Raises:
            StoreUnreachable: The change takes long.
        """
        deadline = time.monotonic() + LAYOUT_WAIT_S
        has_waited = False
        while (await self._layouts.follow()).next:
            has_waited = True
            if time.monotonic() > deadline:
                raise StoreUnreachable(
                    "the number of partitions is being changed", hint="mas partitions list"
                )
            await asyncio.sleep(LAYOUT_LOOK_S)
        return has_waited or self._located != self._keys.layout.number

    @_following
    async def create_inboxes(self) -> None:
        """Make the inboxes; those that exist stay as they are."""
        for inbox in self._inboxes:
            # A stream alone says nothing: a message can be delivered before the first instance starts.
            with contextlib.suppress(LockHeld):
                await self._connection.call("XGROUP", "CREATE", inbox, GROUP, "0", "MKSTREAM")

    async def add_frames(self, frames: Sequence[tuple[int, str, Frame]]) -> list[MasError | None]:
        """Add sealed frames to ingress streams, each given with its partition and lane.

        Returns:
            For each frame why the server did not take it, such as StoreFull; of StoreUnreachable it is unknown.

        Raises:
            StoreUnreachable: It is unknown which were added; adding them again is harmless.
        """
        pipeline = Pipeline()
        for partition, lane, frame in frames:
            pipeline.add("XADD", self._keys.ingress(partition, lane), "*", "h", frame.header, "b", frame.body)
        return await self._connection.run_each(pipeline)

    @_following
    async def read_inbox(self, consumer: str, counts: Mapping[str, int], block_ms: int) -> list[StoredFrame]:
        """New frames, at most `counts` of each lane; waits up to `block_ms` when there are none.

        Raises:
            ReplicasBehind: They are in this consumer's hands (`read_pending`), but a replica may not know it.
        """
        pipeline = Pipeline()
        for inbox, lane in self._inboxes.items():
            if counts[lane] > 0:
                pipeline.add(
                    "XREADGROUP", "GROUP", GROUP, consumer, "COUNT", counts[lane], "STREAMS", inbox, ">"
                )
        if not pipeline.commands:
            return []
        frames = [frame for reply in await self._connection.run(pipeline) for frame in self._frames(reply)]
        if frames or not block_ms:
            return await self._held(consumer, frames)
        reply = await self._connection.wait(
            "XREADGROUP", "GROUP", GROUP, consumer, "COUNT", 4, "BLOCK", block_ms, "STREAMS",
            *self._inboxes, *(">" for _ in self._inboxes),
        )  # fmt: skip
        return await self._held(consumer, self._frames(reply))

    def _frames(self, reply: Any) -> list[StoredFrame]:
        return [
            StoredFrame(self._lane_of[stream], entry.decode(), frame_of(fields))
            for stream, entries in reply or ()
            for entry, fields in entries
        ]

    async def _held(self, consumer: str, frames: list[AnyFrame]) -> list[AnyFrame]:
        """Those of the frames just read that are this consumer's on every server that may take over."""
        if not (self._connection.replicas and frames):
            return frames
        arguments: list[Argument] = [consumer]
        for item in frames:
            arguments += (LANES.index(item.lane) + 1, item.lane, item.entry)
        pipeline = Pipeline()
        self._connection.add_script(pipeline, "hold", [self._work, *self._inboxes], arguments)
        (held,) = await self._connection.run_safely(pipeline)
        return [item for item, is_ours in zip(frames, held, strict=True) if is_ours]

    @_following
    async def read_pending(self, consumer: str) -> list[ClaimedFrame]:
        """Frames that were given to this consumer and are not settled."""
        pipeline = Pipeline()
        for inbox in self._inboxes:
            pipeline.add("XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", inbox, "0")
        stored = [frame for reply in await self._connection.run(pipeline) for frame in self._frames(reply)]
        if not stored:
            return []
        names = [f"frame:{item.lane}:{item.entry}" for item in stored]
        marks = await self._connection.call("HMGET", self._work, *names)
        pending = [
            ClaimedFrame(item.lane, item.entry, item.frame, (mark or b"").decode())
            for item, mark in zip(stored, marks, strict=True)
        ]
        return await self._held(consumer, pending)

    @_following
    async def read_replies(self, instance: str, after: str, block_ms: int) -> list[tuple[str, Frame]]:
        """Replies and receipts after `after`; waits when there are none."""
        key = self._keys.replies(self.partition, self.agent_id, instance)
        # Nothing is read from there, but it fails once this layout has ended: so those learn it who only wait.
        end = self._keys.layout_end(self.partition, self.agent_id, self._located)
        reply = await self._connection.wait(
            "XREAD", "COUNT", 64, "BLOCK", block_ms, "STREAMS", key, end, after, "0"
        )
        if reply and self._connection.replicas:
            # A reply may be here before a replica has it, and its record.
            pipeline = Pipeline()
            newest = reply[-1][1][-1][0]
            self._connection.add_script(pipeline, "keep_replies", [key], [newest, REPLIES_EXPIRY_MS])
            (is_there,) = await self._connection.run_safely(pipeline)
            if not is_there:
                return []
        return [(entry.decode(), frame_of(fields)) for _, entries in reply or () for entry, fields in entries]

    @_following
    async def trim_replies(self, instance: str, to: str) -> None:
        """Drop replies and receipts up to `to`, which are done with."""
        milliseconds, _, number = to.partition("-")
        key = self._keys.replies(self.partition, self.agent_id, instance)
        await self._connection.call("XTRIM", key, "MINID", f"{milliseconds}-{int(number) + 1}")

    @_following
    async def drop_replies(self, instance: str) -> None:
        """Delete the replies stream of an instance that ends."""
        await self._connection.call("DEL", self._keys.replies(self.partition, self.agent_id, instance))

    @_following
    async def settle(self, consumer: str, settlements: Sequence[Settlement]) -> list[int]:
        """Settle handled messages.

        Returns:
            For each how many were new, or SETTLED_ELSEWHERE, STATE_CHANGED or HANDLED_BEFORE.
        """
        arguments: list[Argument] = [consumer, HANDLED_FOR_MS]
        for item in settlements:
            arguments += (
                LANES.index(item.lane) + 1,
                item.entry,
                item.total,
                "*" if set(item.positions) >= set(range(item.total)) else " ".join(map(str, item.positions)),
                "" if item.expected_revision is None else item.expected_revision,
                item.state,
                item.mark,
            )
        pipeline = Pipeline()
        keys = [self._work, self._state, self._handled, *self._inboxes]
        self._connection.add_script(pipeline, "settle", keys, arguments)
        (reply,) = await self._connection.run_safely(pipeline)
        return [int(number) for number in reply]

    @_following
    async def claim(
        self, consumer: str, alive_ms: int, most: int, silent_ms: int = SILENT_MS
    ) -> list[ClaimedFrame]:
        """Take over frames of instances that are gone.

        Args:
            consumer: Who takes them.
            alive_ms: How long a heartbeat counts.
            most: Frames to take.
            silent_ms: How long one whose heartbeat lapsed may not have read its inbox: while no gateway notes
                heartbeats, all of them lapse.
        """
        reply = await self._connection.script(
            "claim", [self._work, self._agent, *self._inboxes], [consumer, alive_ms, most, silent_ms]
        )
        return [
            ClaimedFrame(LANES[int(lane) - 1], entry.decode(), frame_of(fields), marks.decode())
            for lane, entry, fields, marks in reply
        ]

    @_following
    async def was_handled(self, mark: str) -> bool:
        """Whether a message that may take effect once was settled before under another delivery."""
        return await self._connection.call("ZSCORE", self._handled, mark) is not None

    @_following
    async def mark_started(self, consumer: str, lane: str, entry: str, position: int) -> int:
        """Note that the handler of a message starts.

        Returns:
            Which of the noted starts this is, from 1; SETTLED_ELSEWHERE when `consumer` does not hold it.
        """
        inbox = self._keys.inbox(self.partition, self.agent_id, lane)
        pipeline = Pipeline()
        arguments: list[Argument] = [lane, entry, position, consumer]
        self._connection.add_script(pipeline, "start", [self._work, inbox], arguments)
        return int((await self._connection.run_safely(pipeline))[0])

    @_following
    async def forget_starts(self, consumer: str, places: Sequence[tuple[str, str, int]]) -> None:
        """Take back that `consumer` noted the starts of these messages (lane, entry, position)."""
        arguments: list[Argument] = [consumer]
        for place in places:
            arguments += place
        await self._connection.script("unstart", [self._work], arguments)

    @_following
    async def get_state(self) -> tuple[int, bytes]:
        """Revision and JSON text of the state; 0 and nothing when there is none."""
        revision, data = await self._connection.call("HMGET", self._state, "revision", "data")
        return int(revision or 0), data or b""

    @_following
    async def ordered_state_revision(self) -> int:
        """Revision at which an operator set the state last; 0 for never."""
        (revision,) = await self._connection.call("HMGET", self._state, "ordered")
        return int(revision or 0)

    @_following
    async def set_state(
        self,
        expected_revision: int | None,
        data: bytes,
        *,
        by_operator: bool = False,
        fence: tuple[str, int] | None = None,
    ) -> tuple[bool, int]:
        """Replace the state if its revision is still the expected one; the revision now stored.

        Args:
            expected_revision: None takes any.
            data: The new state.
            by_operator: Whether a person sets it.
            fence: Group and term of the leader who writes it.

        Raises:
            LeadershipLost: A leader of a later term has written it before.
        """
        expected = "" if expected_revision is None else expected_revision
        pipeline = Pipeline()
        arguments = [expected, data, int(by_operator), *(fence or ())]
        self._connection.add_script(pipeline, "set_state", [self._state], arguments)
        ((done, revision),) = await self._connection.run_safely(pipeline)
        if fence is not None and done == -1:
            group, term = fence
            raise LeadershipLost(
                f"term {term} of {group} is over: the state was written in term {int(revision)}",
                hint=f"mas leader status {group}",
                group=group,
                term=term,
            )
        return bool(done), int(revision)

    @_following
    async def backlog(self) -> dict[str, int]:
        """Unsettled messages of each lane."""
        reply = await self._connection.call("HMGET", self._work, *(f"unsettled:{lane}" for lane in LANES))
        return {lane: max(0, int(value or 0)) for lane, value in zip(LANES, reply, strict=True)}

    @_following
    async def registration(self) -> dict[str, bytes]:
        """All fields of the agent's own registration hash."""
        return hash_of(await self._connection.call("HGETALL", self._agent))
