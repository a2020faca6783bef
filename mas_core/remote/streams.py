"""The streams and the state of one agent behind a server; each call is one of the `Frames` service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mas_core.errors import MasError
from mas_core.model.frame import Frame
from mas_core.protocol import frames_pb2 as wire
from mas_core.protocol.faults import error_of
from mas_core.protocol.frames_pb2 import Call
from mas_core.remote.exchange import Exchange
from mas_core.store.agents import SILENT_MS, ClaimedFrame, Settlement
from mas_core.store.keys import Layout
from mas_core.store.stored import StoredFrame

MAX_ADDED_BYTES = 1 << 20
"""Bytes of frames in one call; a larger one travels alone."""


class RemoteStreams:
    """What `store.agents.AgentStore` is for agents that reach the store themselves; see there for each call.

    Args:
        exchange: The conversation with the server.
        agent_id: The agent that the certificate is for.
    """

    def __init__(self, exchange: Exchange, agent_id: str) -> None:
        self._exchange = exchange
        self.agent_id = agent_id

    @property
    def layout(self) -> Layout:
        """The layout in force, as far as it is known here."""
        exchange = self._exchange
        return Layout(exchange.layout, exchange.partitions, exchange.partitions)

    async def follow_profile(self) -> None:
        """The server waits for replicas wherever the gateways do."""

    async def follow_layout(self) -> bool:
        """Go over to the layout in force."""
        known = self._exchange.layout
        answer = await self._exchange.call(Call(get_layout=wire.GetLayout()), wait_ms=10_000)
        return answer.layout_now.has_changed or self._exchange.layout != known

    async def registration(self) -> dict[str, bytes]:
        """All fields of the agent's own registration."""
        answer = await self._exchange.call(Call(get_registration=wire.GetRegistration()))
        return dict(answer.registration.fields)

    async def create_inboxes(self) -> None:
        """Make the inboxes."""
        await self._exchange.call(Call(create_inboxes=wire.CreateInboxes()))

    async def add_frames(self, frames: Sequence[tuple[int, str, Frame]]) -> list[MasError | None]:
        """Add sealed frames to the ingress."""
        refusals: list[MasError | None] = []
        for part in _parts(frames):
            answer = await self._exchange.call(
                Call(
                    add_frames=wire.AddFrames(
                        frames=[
                            wire.AddFrames.One(partition=partition, lane=lane, frame=_sent(frame))
                            for partition, lane, frame in part
                        ]
                    )
                )
            )
            refusals += [error_of(fault) if fault.code else None for fault in answer.added.refusals]
        return refusals

    async def read_inbox(self, consumer: str, counts: Mapping[str, int], block_ms: int) -> list[StoredFrame]:
        """New frames, at most `counts` of each lane."""
        answer = await self._exchange.call(
            Call(read_inbox=wire.ReadInbox(instance=consumer, block_ms=block_ms, **counts)),
            wait_ms=block_ms,
        )
        return [StoredFrame(item.lane, item.entry, _received(item.frame)) for item in answer.frames.frames]

    async def read_pending(self, consumer: str) -> list[ClaimedFrame]:
        """Frames that were given to this consumer and are not settled."""
        answer = await self._exchange.call(Call(read_pending=wire.ReadPending(instance=consumer)))
        return _claimed(answer.frames.frames)

    async def read_replies(self, instance: str, after: str, block_ms: int) -> list[tuple[str, Frame]]:
        """Replies and receipts after `after`."""
        answer = await self._exchange.call(
            Call(read_replies=wire.ReadReplies(instance=instance, after=after, block_ms=block_ms)),
            wait_ms=block_ms,
        )
        return [(item.entry, _received(item.frame)) for item in answer.frames.frames]

    async def trim_replies(self, instance: str, to: str) -> None:
        """Drop replies and receipts up to `to`."""
        await self._exchange.call(Call(trim_replies=wire.TrimReplies(instance=instance, to=to)))

    async def drop_replies(self, instance: str) -> None:
        """Delete the replies stream of an instance that ends."""
        await self._exchange.call(Call(drop_replies=wire.DropReplies(instance=instance)))

    async def settle(self, consumer: str, settlements: Sequence[Settlement]) -> list[int]:
        """Settle handled messages."""
        items = [
            wire.Settle.One(
                lane=item.lane,
                entry=item.entry,
                total=item.total,
                positions=item.positions,
                expected_revision=item.expected_revision,
                state=item.state,
                mark=item.mark,
            )
            for item in settlements
        ]
        answer = await self._exchange.call(Call(settle=wire.Settle(instance=consumer, items=items)))
        return list(answer.settled.results)

    async def claim(
        self, consumer: str, alive_ms: int, most: int, silent_ms: int = SILENT_MS
    ) -> list[ClaimedFrame]:
        """Take over frames of instances that are gone."""
        claim = wire.Claim(instance=consumer, alive_ms=alive_ms, most=most, silent_ms=silent_ms)
        answer = await self._exchange.call(Call(claim=claim))
        return _claimed(answer.frames.frames)

    async def was_handled(self, mark: str) -> bool:
        """Whether a message that may take effect once was settled before."""
        answer = await self._exchange.call(Call(was_handled=wire.WasHandled(mark=mark)))
        return bool(answer.number.value)

    async def mark_started(self, consumer: str, lane: str, entry: str, position: int) -> int:
        """Note that the handler of a message starts."""
        started = wire.MarkStarted(instance=consumer, lane=lane, entry=entry, position=position)
        return (await self._exchange.call(Call(mark_started=started))).number.value

    async def forget_starts(self, consumer: str, places: Sequence[tuple[str, str, int]]) -> None:
        """Take back noted starts."""
        named = [
            wire.ForgetStarts.One(lane=lane, entry=entry, position=position)
            for lane, entry, position in places
        ]
        await self._exchange.call(Call(forget_starts=wire.ForgetStarts(instance=consumer, places=named)))

    async def get_state(self) -> tuple[int, bytes]:
        """Revision and JSON text of the state."""
        state = (await self._exchange.call(Call(read_state=wire.ReadState()))).state
        return state.revision, state.data

    async def ordered_state_revision(self) -> int:
        """Revision at which an operator set the state last."""
        return (await self._exchange.call(Call(read_state=wire.ReadState(without_data=True)))).state.ordered

    async def set_state(
        self, expected_revision: int | None, data: bytes, *, fence: tuple[str, int] | None = None
    ) -> tuple[bool, int]:
        """Replace the state if its revision is still the expected one."""
        group, term = fence or ("", 0)
        write = wire.WriteState(expected_revision=expected_revision, data=data, group=group, term=term)
        state = (await self._exchange.call(Call(write_state=write))).state
        return state.is_written, state.revision

    async def backlog(self) -> dict[str, int]:
        """Unsettled messages of each lane."""
        return dict((await self._exchange.call(Call(get_backlog=wire.GetBacklog()))).backlog.unsettled)


def _sent(frame: Frame) -> wire.Frame:
    return wire.Frame(header=frame.header, body=frame.body)


def _received(frame: wire.Frame) -> Frame:
    return Frame(frame.header, frame.body)


def _claimed(frames: Iterable[wire.InboxFrame]) -> list[ClaimedFrame]:
    return [ClaimedFrame(item.lane, item.entry, _received(item.frame), item.marks) for item in frames]


def _parts(frames: Sequence[tuple[int, str, Frame]]) -> Iterator[Sequence[tuple[int, str, Frame]]]:
    """The frames in order, in parts that fit into one call."""
    first, size = 0, 0
    for at, (_, _, frame) in enumerate(frames):
        added = len(frame.header) + len(frame.body)
        if at > first and size + added > MAX_ADDED_BYTES:
            yield frames[first:at]
            first, size = at, 0
        size += added
    if first < len(frames):
        yield frames[first:]
