"""The outbox: packs waiting messages into sealed frames, numbers them, and matches their receipts.

What waits while a frame is on its way goes into the next one, so frames are small when it is quiet and grow by
themselves under load. A frame without a receipt is added again unchanged; its number makes that harmless. It
is kept, whether or not somebody still waits for it, since the frames after it count only when it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from itertools import count

from mas_core.agent.link import Link
from mas_core.agent.sending_queue import (
    PACKER,
    SendingQueue,
    SentFrame,
    Waiting,
    by_partition,
    pack_envelope,
)
from mas_core.base.clock import CarriedClock
from mas_core.base.failpoints import failpoint
from mas_core.base.ids import new_instance_id, partition_of
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import GatewayDown, InvalidPayload, MasError, StoreUnreachable, Unauthenticated
from mas_core.model.decision import Decision, Receipt
from mas_core.model.frame import (
    FRAME_VERSION,
    LAYOUT_ENDED,
    MAX_FRAME_BYTES,
    MAX_UNANSWERED_FRAMES,
    FrameHeader,
    FrameReceipt,
    Place,
)
from mas_core.model.json_text import MAX_BYTES
from mas_core.model.message import Envelope
from mas_core.model.priority import Lane, lane_of
from mas_core.store.agents import LAYOUT_LOOK_S
from mas_core.store.contract import AgentStreams

SWEEP_INTERVAL_S = 0.5
SEND_TIMEOUT_S = 30.0
MAX_MESSAGE_BYTES = 3 * MAX_FRAME_BYTES
"""Larger messages are refused here: the server would not take their frame, and no frame can be left out."""

log = get_logger(__name__)

_ALLOWED = Decision.ALLOWED


class Outbox:
    """Sends messages of one instance and waits for their receipts."""

    def __init__(self, link: Link, store: AgentStreams) -> None:
        self._link = link
        self._store = store
        self._layout = store.layout.number
        self._is_moving = False
        """Whether the layout is another one: nothing new is sent until every frame of the old one is answered."""
        self._held: list[Waiting] = []
        """What waits for that."""
        self._all_answered = asyncio.Event()
        """Set when no session has frames without a receipt."""
        self._following: asyncio.Task[None] | None = None
        self._orders = count(1)
        self._queues: dict[tuple[int, Lane], SendingQueue] = {}
        self._sessions: dict[str, SendingQueue] = {}
        """The queues, and those whose session takes no more messages but lacks receipts."""
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: MasError | None = None
        self.clock = CarriedClock()
        """The server's clock: changes of ours make no message look old."""

    def start(self) -> None:
        """Start sending."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._flush()), asyncio.create_task(self._sweep())]

    async def stop(self) -> None:
        """Stop sending; what is unanswered fails."""
        tasks = [*self._tasks, *([self._following] if self._following is not None else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for waiting in self._all_waiting():
            if not waiting.answer.done():
                waiting.answer.set_exception(GatewayDown("the agent stopped before a receipt came"))
                waiting.answer.exception()

    def now_ms(self) -> int:
        """The server's clock, by estimate."""
        return self.clock.now_ms()

    async def submit(
        self, envelope: Envelope, *, route: str = "", timeout_s: float = SEND_TIMEOUT_S
    ) -> Receipt:
        """Send a message and wait for the gateway's receipt; parameters and errors as for `submit_all`."""
        return (await self.submit_all([envelope], route=route, timeout_s=timeout_s))[0]

    def submit_all(
        self,
        envelopes: Sequence[Envelope],
        *,
        route: str = "",
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> asyncio.Future[list[Receipt]]:
        """Queue messages for one lane; the future gives the gateway's receipts.

        Args:
            envelopes: The messages, 1 to MAX_FRAME_MESSAGES, to targets of one partition; several must fit into one
                frame.
            route: The agent to whose partition they go; their target when left out.
            timeout_s: After so many seconds without a receipt the future fails with GatewayDown.

        Raises:
            InvalidPayload: A message is too large to be sent at all, or holds what no frame can carry.
        """
        packed = [pack_envelope(envelope) for envelope in envelopes]
        size = sum(map(len, packed))
        if size > MAX_MESSAGE_BYTES:
            raise InvalidPayload(
                f"the message has {size:,} bytes; at most {MAX_BYTES:,} are taken", size=size, limit=MAX_BYTES
            )
        first = envelopes[0]
        answer: asyncio.Future[list[Receipt]] = self._loop.create_future()
        ids = [envelope.id for envelope in envelopes]
        deadline = time.monotonic() + timeout_s
        lane = lane_of(first.priority)
        waiting = Waiting(
            ids, packed, size, answer, deadline, route or first.target, lane, next(self._orders)
        )
        if self._layout != self._store.layout.number:
            self._leave_layout()
        if self._is_moving:
            self._held.append(waiting)
        else:
            self._queue_of(waiting).waiting.append(waiting)
        self._wake.set()
        return answer

    def take_receipts(self, receipts: Sequence[FrameReceipt]) -> None:
        """Match receipts of frames with the messages that wait for them."""
        for receipt in receipts:
            queue = self._sessions.get(receipt.session)
            if queue is None:
                continue
            if receipt.expected == LAYOUT_ENDED:
                self._take_back(queue, receipt.counter)
                self._leave_layout()
                continue
            if receipt.expected:
                self._resynchronise(queue, receipt.expected)
                continue
            sent = queue.unanswered.pop(receipt.counter, None)
            if sent is None:
                continue
            failpoint("outbox.receipt")
            self._forget_if_ended(queue)
            queue.answered(receipt.counter, time.monotonic())
            special = dict(zip(receipt.positions, receipt.receipts, strict=True))
            position = 0
            for waiting in sent.groups:
                if not waiting.answer.done():
                    given = [Receipt(message_id, _ALLOWED) for message_id in waiting.ids]
                    if special:
                        given = [special.get(position + at, plain) for at, plain in enumerate(given)]
                    waiting.answer.set_result(given)
                position += len(waiting.ids)
        self._wake.set()

    def _all_waiting(self) -> list[Waiting]:
        return [*self._held, *(item for queue in self._sessions.values() for item in queue.all_waiting())]

    def _queue_of(self, waiting: Waiting) -> SendingQueue:
        partition = partition_of(waiting.route, self._store.layout.partitions)
        return self._queues.get((partition, waiting.lane)) or self._new_queue(partition, waiting.lane)

    def _take_back(self, queue: SendingQueue, counter: int) -> None:
        """Nothing of these frames was taken: their messages go another way."""
        for late in [number for number in queue.unanswered if number >= counter]:
            self._held += queue.unanswered.pop(late).groups
        self._forget_if_ended(queue)

    def _leave_layout(self) -> None:
        """Send nothing more under this layout, and ask what became of each frame that has no receipt."""
        if self._is_moving:
            return
        self._is_moving = True
        log.info("layout.left", agent=self._link.agent_id, layout=self._layout)
        self._queues.clear()
        for queue in list(self._sessions.values()):
            self._held += queue.waiting
            queue.waiting.clear()
            self._forget_if_ended(queue)
        self._following = asyncio.create_task(self._enter_layout())
        self._wake.set()

    async def _enter_layout(self) -> None:
        """Go on under the new layout once nothing of the old one is open, in the order of submission."""
        while self._store.layout.number == self._layout:
            try:
                await self._store.follow_layout()
            except MasError as error:
                log.warning("store.unavailable", agent=self._link.agent_id, reason=error.message)
            if self._store.layout.number == self._layout:
                await asyncio.sleep(LAYOUT_LOOK_S)
        for queue in self._sessions.values():
            self._mark_for_resending(queue.unanswered.values())
        if self._sessions:
            self._all_answered.clear()
            await self._all_answered.wait()
        held, self._held = sorted(self._held, key=lambda item: item.order), []
        self._layout = self._store.layout.number
        self._is_moving = False
        for waiting in held:
            for part in by_partition(waiting, self._store.layout.partitions):
                self._queue_of(part).waiting.append(part)
        log.info("layout.entered", agent=self._link.agent_id, layout=self._layout)
        self._wake.set()

    def _new_queue(self, partition: int, lane: Lane) -> SendingQueue:
        session = new_instance_id()
        queue = SendingQueue(partition, lane, session, self._link.sending_key(session))
        self._queues[partition, lane] = self._sessions[session] = queue
        return queue

    def _end_session(self, queue: SendingQueue, unsent: Sequence[Waiting] = ()) -> None:
        """Let a new session take these messages and all that wait; the old one only gets its receipts."""
        if self._is_moving:
            self._held += unsent
            self._forget_if_ended(queue)
            return
        current = self._queues[queue.partition, queue.lane]
        if current is queue:
            current = self._new_queue(queue.partition, queue.lane)
            current.waiting, queue.waiting = queue.waiting, current.waiting
        current.waiting.extendleft(reversed(unsent))
        self._forget_if_ended(queue)

    def _forget_if_ended(self, queue: SendingQueue) -> None:
        if not queue.unanswered and self._queues.get((queue.partition, queue.lane)) is not queue:
            self._sessions.pop(queue.session, None)
            if not self._sessions:
                self._all_answered.set()

    def _resynchronise(self, queue: SendingQueue, expected: int) -> None:
        if expected in queue.unanswered:
            for sent in queue.unanswered.values():
                sent.sent_at = 0.0
            return
        # The gateway has forgotten this session, or misses a frame that the server refused: what comes from
        # there on was not accepted under it.
        late = [counter for counter in queue.unanswered if counter >= expected]
        groups = [waiting for counter in late for waiting in queue.unanswered.pop(counter).groups]
        self._end_session(queue, groups)

    async def _flush(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # One turn of the loop lets tasks that are ready now add to the same frame.
            await asyncio.sleep(0)
            try:
                while frames := self._next_frames():
                    await self._add(frames)
            except Exception as error:  # noqa: BLE001 - what spoils one call must not end all sending
                log.error("sending.failed", agent=self._link.agent_id, trace=trace_of(error))
                await asyncio.sleep(SWEEP_INTERVAL_S)
                self._wake.set()

    async def _add(self, frames: Sequence[tuple[SendingQueue, SentFrame]]) -> None:
        is_new = [not sent.may_be_there for _, sent in frames]
        for _, sent in frames:
            sent.may_be_there = True
        failpoint("outbox.before_add")
        try:
            refusals = await self._store.add_frames(
                [(queue.partition, queue.lane, sent.frame) for queue, sent in frames]
            )
        except (StoreUnreachable, Unauthenticated) as lost:
            refusals = [lost] * len(frames)
        failpoint("outbox.after_add")
        unknown: list[SentFrame] = []
        for (queue, sent), is_first_try, error in zip(frames, is_new, refusals, strict=True):
            queue.trouble = error
            if isinstance(error, StoreUnreachable):
                unknown.append(sent)
            elif error is not None and is_first_try:
                self._give_up(queue, sent, error)
        if any(refusals):
            await asyncio.sleep(SWEEP_INTERVAL_S)
            self._mark_for_resending(unknown)

    def _give_up(self, queue: SendingQueue, refused: SentFrame, error: MasError) -> None:
        """The server has not taken a frame, so it will never be added: its senders are free to try again."""
        for waiting in refused.groups:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
        del queue.unanswered[refused.counter]
        # Its number may not be used again: something was sealed under it.
        self._end_session(queue)

    def lost(self, message_id: str) -> MasError | None:
        """What is to be said of a message that waits for a server that does not answer; None for other messages."""
        for queue in self._sessions.values():
            if isinstance(queue.trouble, StoreUnreachable):
                for waiting in queue.all_waiting():
                    if message_id in waiting.ids:
                        return self._unanswered(queue.trouble, waiting)
        return None

    def _unanswered(self, trouble: MasError | None, waiting: Waiting) -> MasError:
        """What is known of messages that got no receipt in time."""
        details = {"message_id": waiting.ids[0]}
        if trouble is not None:
            return StoreUnreachable(
                f"{trouble.message}; the message may still be delivered",
                hint=(*(trouble.hint or ("mas status",)), "send it again with the same id"),
                **details,
            )
        return GatewayDown(
            "no gateway confirmed the message in time; it may still be delivered",
            hint=("mas gateway status", "mas up"),
            **details,
        )

    def _next_frames(self) -> list[tuple[SendingQueue, SentFrame]]:
        frames: list[tuple[SendingQueue, SentFrame]] = []
        now = time.monotonic()
        for queue in self._sessions.values():
            for sent in queue.unanswered.values():
                if sent.sent_at == 0.0:
                    sent.sent_at = now
                    frames.append((queue, sent))
            while queue.waiting and queue.has_room:
                packed = self._pack(queue, now)
                if packed is not None:
                    frames.append((queue, packed))
                if len(frames) >= MAX_UNANSWERED_FRAMES:
                    return frames
        return frames

    def _pack(self, queue: SendingQueue, now: float) -> SentFrame | None:
        groups = queue.take_groups()
        if not groups:
            return None
        packed = [message for group in groups for message in group.packed]
        queue.counter += 1
        header = FrameHeader(
            FRAME_VERSION,
            self._link.namespace,
            queue.partition,
            Place.INGRESS,
            queue.lane,
            self._link.agent_id,
            self._link.instance,
            queue.session,
            self._link.keys.key_id,
            self._link.keys.gateway_key_id,
            queue.counter,
            len(packed),
            self.now_ms(),
            layout=self._layout,
        )
        frame = queue.seal_key.seal(header, PACKER.encode(packed))
        sent = queue.unanswered[queue.counter] = SentFrame(frame, queue.counter, groups, now)
        return sent

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            now = time.monotonic()
            if self._layout != self._store.layout.number:
                self._leave_layout()
            for queue in self._sessions.values():
                if queue.is_overdue(now):
                    queue.probes += 1
                    # The oldest may be just the one that the gateway expects and so tell nothing of the others;
                    # the newest then makes it say which one comes next.
                    ends = {min(queue.unanswered), max(queue.unanswered)}
                    self._mark_for_resending(queue.unanswered[counter] for counter in ends)
                for waiting in queue.all_waiting():
                    if now > waiting.deadline and not waiting.answer.done():
                        waiting.answer.set_exception(self._unanswered(queue.trouble, waiting))
            for waiting in self._held:
                if now > waiting.deadline and not waiting.answer.done():
                    waiting.answer.set_exception(self._unanswered(None, waiting))

    def _mark_for_resending(self, frames: Iterable[SentFrame]) -> None:
        for sent in frames:
            sent.sent_at = 0.0
        self._wake.set()
