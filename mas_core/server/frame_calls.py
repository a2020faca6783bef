"""What each call of the `Frames` service does: the calls of `store.contract`, for one agent and nobody else.

Names of keys never come from a call: whose streams are reached follows from the certificate, and everything else
that a call says is made sure of first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import DecryptionFailed, Forbidden, InternalError, MasError, ResourceNotFound
from mas_core.model.frame import Frame, Place
from mas_core.model.priority import LANES
from mas_core.protocol import frames_pb2 as wire
from mas_core.protocol.faults import fault_of
from mas_core.protocol.frames_pb2 import Answer, Call, Done
from mas_core.registry.security_notices import SecurityNotices
from mas_core.security.seals import read_header
from mas_core.server import checks
from mas_core.server.admission import Caller
from mas_core.store.agents import ClaimedFrame, Settlement
from mas_core.store.store import Store
from mas_core.store.topics import LogEntry

log = get_logger(__name__)

MAX_FRAMES: Final = 64
"""Frames of one lane, or of a log, that one call is given."""


class FrameCalls:
    """Carries out the calls of one agent.

    Args:
        store: The system's.
        caller: The agent that the certificate is for.
        notices: Where frames are recorded that are another agent's.
    """

    def __init__(self, store: Store, caller: Caller, notices: SecurityNotices) -> None:
        self._store = store
        self._notices = notices
        self._peer = caller.peer
        self._agent_id = agent_id = caller.agent_id
        self._streams = store.agent(agent_id)
        self._logs = store.topics
        self._profile_known = False

    async def answer(self, call: Call) -> Answer:
        """The answer to a call; errors are answers too."""
        ask = call.WhichOneof("ask")
        carry_out = self._CALLS.get(ask) if ask is not None else None
        try:
            if carry_out is None:
                answer = Answer(
                    error=wire.Error(code="unimplemented", message="this server knows no such call")
                )
            else:
                answer = await carry_out(self, getattr(call, str(ask)))
        except MasError as error:
            answer = Answer(error=fault_of(error))
        except Exception as error:  # noqa: BLE001 - what one call provokes must not end the others
            log.error("call.failed", agent=self._agent_id, call=ask, trace=trace_of(error))
            answer = Answer(error=fault_of(InternalError("the server could not carry out this call")))
        layout = self._store.keys.layout
        answer.id, answer.layout, answer.partitions = call.id, layout.number, layout.partitions
        return answer

    # The agent

    async def _hello(self, _ask: wire.Hello) -> Answer:
        if not self._profile_known:
            await self._streams.follow_profile()
            self._profile_known = True
        welcome = wire.Welcome(
            namespace=self._store.namespace, agent_id=self._agent_id, time_ms=await self._store.time_ms()
        )
        return Answer(welcome=welcome)

    async def _get_layout(self, _ask: wire.GetLayout) -> Answer:
        return Answer(layout_now=wire.Layout(has_changed=await self._streams.follow_layout()))

    async def _get_registration(self, _ask: wire.GetRegistration) -> Answer:
        return Answer(registration=wire.Fields(fields=await self._streams.registration()))

    # Frames

    async def _create_inboxes(self, _ask: wire.CreateInboxes) -> Answer:
        await self._streams.create_inboxes()
        return Answer(done=Done())

    async def _add_frames(self, ask: wire.AddFrames) -> Answer:
        checks.few(len(ask.frames))
        refusals: list[MasError | None] = []
        frames = []
        for item in ask.frames:
            frame = Frame(item.frame.header, item.frame.body)
            partition = checks.partition(item.partition, self._store.keys.width)
            refusal = await self._refusal(frame, partition, checks.lane(item.lane))
            refusals.append(refusal)
            if refusal is None:
                frames.append((partition, item.lane, frame))
        added = iter(await self._streams.add_frames(frames) if frames else ())
        outcomes = (refusal or next(added) for refusal in refusals)
        faults = [wire.Error() if error is None else fault_of(error) for error in outcomes]
        return Answer(added=wire.AddedFrames(refusals=faults))

    async def _refusal(self, frame: Frame, partition: int, lane: str) -> Forbidden | None:
        """Why a frame is not taken: a token is bound to its agent's certificate, and a frame to its place."""
        try:
            header = read_header(frame)
        except DecryptionFailed as error:
            return Forbidden(f"Authorization denied: {error.message}")
        if header.agent != self._agent_id:
            said = header.agent[:64]
            reason = f"a frame sealed as {said!r} came with the certificate of {self._agent_id}"
            facts = {"peer": self._peer, "sealed_as": said, "reason": "other_agent"}
            log.warning("frame.refused", agent=self._agent_id, peer=self._peer, sealed_as=said)
            await self._notices.record("frame.refused", self._agent_id, facts, reason=reason)
            return Forbidden(
                f"Authorization denied: this connection is for {self._agent_id}, and the frame belongs elsewhere",
                sender=said,
            )
        if (header.place, header.partition, header.lane) != (Place.INGRESS, partition, lane):
            return Forbidden("Authorization denied: the frame was sealed for another place")
        return None

    async def _read_inbox(self, ask: wire.ReadInbox) -> Answer:
        counts: dict[str, int] = {lane: min(getattr(ask, lane), MAX_FRAMES) for lane in LANES}
        block_ms = checks.block_ms(ask.block_ms) if ask.block_ms else 0
        frames = await self._streams.read_inbox(checks.instance(ask.instance), counts, block_ms)
        return _frames(
            wire.InboxFrame(lane=item.lane, entry=item.entry, frame=_sent(item.frame)) for item in frames
        )

    async def _read_pending(self, ask: wire.ReadPending) -> Answer:
        return _claimed(await self._streams.read_pending(checks.instance(ask.instance)))

    async def _read_replies(self, ask: wire.ReadReplies) -> Answer:
        found = await self._streams.read_replies(
            checks.instance(ask.instance), checks.place(ask.after), checks.block_ms(ask.block_ms)
        )
        return _frames(wire.InboxFrame(entry=entry, frame=_sent(frame)) for entry, frame in found)

    async def _trim_replies(self, ask: wire.TrimReplies) -> Answer:
        await self._streams.trim_replies(checks.instance(ask.instance), checks.entry(ask.to))
        return Answer(done=Done())

    async def _drop_replies(self, ask: wire.DropReplies) -> Answer:
        await self._streams.drop_replies(checks.instance(ask.instance))
        return Answer(done=Done())

    async def _settle(self, ask: wire.Settle) -> Answer:
        checks.few(len(ask.items))
        settlements = [
            Settlement(
                checks.lane(item.lane),
                checks.entry(item.entry),
                item.total,
                checks.positions(item.positions, item.total),
                item.expected_revision if item.HasField("expected_revision") else None,
                item.state,
                checks.mark(item.mark),
            )
            for item in ask.items
        ]
        results = await self._streams.settle(checks.instance(ask.instance), settlements)
        return Answer(settled=wire.Settled(results=results))

    async def _claim(self, ask: wire.Claim) -> Answer:
        return _claimed(
            await self._streams.claim(
                checks.instance(ask.instance), ask.alive_ms, min(ask.most, MAX_FRAMES), ask.silent_ms
            )
        )

    async def _was_handled(self, ask: wire.WasHandled) -> Answer:
        return _number(int(await self._streams.was_handled(checks.mark(ask.mark))))

    async def _mark_started(self, ask: wire.MarkStarted) -> Answer:
        return _number(
            await self._streams.mark_started(
                checks.instance(ask.instance), checks.lane(ask.lane), checks.entry(ask.entry), ask.position
            )
        )

    async def _forget_starts(self, ask: wire.ForgetStarts) -> Answer:
        checks.few(len(ask.places))
        places = [(checks.lane(one.lane), checks.entry(one.entry), one.position) for one in ask.places]
        await self._streams.forget_starts(checks.instance(ask.instance), places)
        return Answer(done=Done())

    # State

    async def _read_state(self, ask: wire.ReadState) -> Answer:
        if ask.without_data:
            return Answer(state=wire.StoredState(ordered=await self._streams.ordered_state_revision()))
        revision, data = await self._streams.get_state()
        return Answer(state=wire.StoredState(revision=revision, data=data))

    async def _write_state(self, ask: wire.WriteState) -> Answer:
        is_written, revision = await self._streams.set_state(
            ask.expected_revision if ask.HasField("expected_revision") else None,
            ask.data,
            fence=(checks.group(ask.group), ask.term) if ask.group else None,
        )
        return Answer(state=wire.StoredState(revision=revision, is_written=is_written))

    async def _get_backlog(self, _ask: wire.GetBacklog) -> Answer:
        return Answer(backlog=wire.Backlog(unsettled=await self._streams.backlog()))

    # Topics

    def _group(self, pattern: str) -> str:
        return f"{self._agent_id}/{checks.pattern(pattern)}"

    def _partition(self, number: int) -> int:
        return checks.partition(number, self._logs.partitions)

    async def _read_logs(self, ask: wire.ReadLogs) -> Answer:
        checks.few(len(ask.after))
        after = {checks.topic(name): checks.entry(entry) for name, entry in ask.after.items()}
        if not after:
            return _entries(())
        return _entries(
            await self._logs.read(self._partition(ask.partition), after, checks.block_ms(ask.block_ms))
        )

    async def _read_group(self, ask: wire.ReadGroup) -> Answer:
        checks.few(len(ask.topics))
        topics = [checks.topic(name) for name in ask.topics]
        if not topics:
            return _entries(())
        return _entries(
            await self._logs.read_group(
                self._partition(ask.partition),
                topics,
                self._group(ask.pattern),
                checks.instance(ask.instance),
                checks.block_ms(ask.block_ms),
            )
        )

    async def _read_own(self, ask: wire.ReadOwn) -> Answer:
        return _entries(
            await self._logs.read_own(
                self._partition(ask.partition),
                checks.topic(ask.topic),
                self._group(ask.pattern),
                checks.instance(ask.instance),
            )
        )

    async def _create_group(self, ask: wire.CreateGroup) -> Answer:
        partition, topic = self._partition(ask.partition), checks.topic(ask.topic)
        # Otherwise anybody could fill the store with places, and with logs of topics that do not exist.
        if not await self._logs.is_kept(partition, topic, self._agent_id, checks.pattern(ask.pattern)):
            raise ResourceNotFound(
                f"there is no topic {topic}, or no subscription of {self._agent_id} keeps a place in it",
                resource=f"topic:{topic}",
            )
        return _number(
            await self._logs.create_group(partition, topic, self._group(ask.pattern), checks.place(ask.after))
        )

    async def _drop_groups(self, ask: wire.DropGroups) -> Answer:
        partition, group = self._partition(ask.partition), self._group(ask.pattern)
        if ask.topic:
            await self._logs.drop_group(partition, checks.topic(ask.topic), group)
        else:
            await self._logs.drop_groups(partition, group)
        return Answer(done=Done())

    async def _acknowledge_entries(self, ask: wire.AcknowledgeEntries) -> Answer:
        checks.few(len(ask.entries))
        entries = [
            (self._partition(one.partition), checks.topic(one.topic), checks.entry(one.entry))
            for one in ask.entries
        ]
        await self._logs.acknowledge(entries, self._group(ask.pattern))
        return Answer(done=Done())

    async def _list_consumers(self, ask: wire.ListConsumers) -> Answer:
        consumers = await self._logs.consumers(
            self._partition(ask.partition), checks.topic(ask.topic), self._group(ask.pattern)
        )
        found = [
            wire.Consumers.One(name=item.name, idle_ms=item.idle_ms, in_hand=item.in_hand)
            for item in consumers
        ]
        return Answer(consumers=wire.Consumers(consumers=found))

    async def _take_over(self, ask: wire.TakeOver) -> Answer:
        return _number(
            await self._logs.take_over(
                self._partition(ask.partition),
                checks.topic(ask.topic),
                self._group(ask.pattern),
                checks.instance(ask.instance),
                checks.consumer(ask.gone),
            )
        )

    async def _leave_groups(self, ask: wire.LeaveGroups) -> Answer:
        checks.few(len(ask.places))
        places = [(self._partition(one.partition), checks.topic(one.topic)) for one in ask.places]
        await self._logs.leave(places, self._group(ask.pattern), checks.instance(ask.instance))
        return Answer(done=Done())

    _CALLS: Final[dict[str, Callable[[FrameCalls, Any], Awaitable[Answer]]]] = {
        "hello": _hello,
        "get_layout": _get_layout,
        "get_registration": _get_registration,
        "create_inboxes": _create_inboxes,
        "add_frames": _add_frames,
        "read_inbox": _read_inbox,
        "read_pending": _read_pending,
        "read_replies": _read_replies,
        "trim_replies": _trim_replies,
        "drop_replies": _drop_replies,
        "settle": _settle,
        "claim": _claim,
        "was_handled": _was_handled,
        "mark_started": _mark_started,
        "forget_starts": _forget_starts,
        "read_state": _read_state,
        "write_state": _write_state,
        "get_backlog": _get_backlog,
        "read_logs": _read_logs,
        "read_group": _read_group,
        "read_own": _read_own,
        "create_group": _create_group,
        "drop_groups": _drop_groups,
        "acknowledge_entries": _acknowledge_entries,
        "list_consumers": _list_consumers,
        "take_over": _take_over,
        "leave_groups": _leave_groups,
    }


def _sent(frame: Frame) -> wire.Frame:
    return wire.Frame(header=frame.header, body=frame.body)


def _frames(frames: Iterable[wire.InboxFrame]) -> Answer:
    return Answer(frames=wire.InboxFrames(frames=frames))


def _claimed(frames: Iterable[ClaimedFrame]) -> Answer:
    return _frames(
        wire.InboxFrame(lane=item.lane, entry=item.entry, frame=_sent(item.frame), marks=item.marks)
        for item in frames
    )


def _entries(entries: Iterable[LogEntry]) -> Answer:
    found = [
        wire.LogEntries.One(topic=item.topic, entry=item.entry, frame=_sent(item.frame), is_gone=item.is_gone)
        for item in entries
    ]
    return Answer(entries=wire.LogEntries(entries=found))


def _number(value: int) -> Answer:
    return Answer(number=wire.Number(value=value))
