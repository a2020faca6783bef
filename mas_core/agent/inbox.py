"""The inbox: reads delivered frames, runs a handler for each message, takes over what dead instances held."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Coroutine

import msgspec

from mas_core.agent.held_frames import Held, HeldFrames
from mas_core.agent.link import Link
from mas_core.agent.sender_order import SenderOrder
from mas_core.base.backoff import exponential_delays
from mas_core.base.failpoints import failpoint
from mas_core.base.fair_queue import FairQueue
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import MasError
from mas_core.model.frame import Frame
from mas_core.model.priority import LANE_WEIGHTS
from mas_core.store.agents import SETTLED_ELSEWHERE
from mas_core.store.contract import AgentStreams

log = get_logger(__name__)

CLAIM_INTERVAL_S = 5.0
CLAIM_FRAMES = 16
ALIVE_MS = 60_000
ALONE_S = 5.0
"""How long a message of an instance that died is handled before the next of them is started beside it."""
PAUSE_AFTER = 32
_BLOCK_MS = 1000
_RECONNECT_S = 0.3
_READ_FRAMES = {"high": 20, "normal": 8, "low": 3}
"""Frames read of a lane while fewer messages of it are at hand; about in the proportion of the lanes' weights."""
_READ_AFTER = sum(_READ_FRAMES.values())
"""Messages started at most until a lane that runs out is looked at again, while there are others."""
_MAX_READ_AFTER = 512
"""The same once nothing was found in such lanes for a while."""


_InTurn = Held | asyncio.Future[None]
"""What waits for its turn: a message that was taken, or one of another instance that is awaited."""


class Inbox:
    """Reads an agent's inbox for one instance.

    Args:
        link: Opens frames.
        store: The agent's streams.
        handle: Handles one message and settles it; must not raise.
        give_up: Hands a message back whose start another instance did not survive.
        settled: Waits until every message that was handled so far is settled.
        max_in_flight: Handlers that run at the same time.
        ordered: Whether a message waits until the one before it of the same sender is handled.
    """

    def __init__(
        self,
        link: Link,
        store: AgentStreams,
        handle: Callable[[Held], Awaitable[None]],
        give_up: Callable[[Held], Awaitable[None]],
        settled: Callable[[], Awaitable[None]],
        max_in_flight: int,
        *,
        ordered: bool = False,
    ) -> None:
        self._link = link
        self._store = store
        self._handle = handle
        self._give_up = give_up
        self._settled = settled
        self._max_in_flight = max_in_flight
        self._ready: FairQueue[Held] = FairQueue(LANE_WEIGHTS)
        self._order: SenderOrder[_InTurn] | None = SenderOrder() if ordered else None
        self._paused: list[tuple[str, Held]] = []
        """Senders, and their message whose turn it was when an operator wanted no handler to be started."""
        self._read_after = _READ_AFTER
        self._since_read = 0
        self._looked = asyncio.Event()
        self._is_waiting = False
        """Whether the reader waits for whatever comes, in any lane."""
        self._running: set[asyncio.Task[None]] = set()
        self._pausing = 0
        """Workers that go on in the next turn of the loop."""
        self._claimed: set[asyncio.Task[None]] = set()
        self._noted: dict[tuple[str, str, int], Held] = {}
        """Messages that are handled and whose start was noted."""
        self._must_look_back = False
        self._held = HeldFrames(link, store.agent_id)
        self._room = asyncio.Event()
        self._room.set()
        self._gate = asyncio.Event()
        """Cleared while an operator wants no handler to be started."""
        self._gate.set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def in_hand(self) -> int:
        """Messages that were read and are not settled."""
        return len(self._running) + len(self._claimed) + len(self._ready) + self._out_of_turn

    def start(self) -> None:
        """Start reading."""
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._claim())]

    def hold(self) -> None:
        """Start no handler; those that run finish, and everything else waits."""
        self._gate.clear()

    def resume(self) -> None:
        """Start handlers again."""
        self._gate.set()
        paused, self._paused = self._paused, []
        for sender, held in paused:
            if self._order is not None:
                self._add_worker(self._go_on(self._order, sender, held))
        self._pump()

    async def drain(self, timeout_s: float) -> bool:
        """Stop reading and let what is in hand finish; False when it did not within the time."""
        await self._stop_reading()
        try:
            async with asyncio.timeout(timeout_s):
                while handling := self._running | self._claimed:
                    await asyncio.wait(handling)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop at once; what is in hand will be handled by another instance."""
        await self._stop_reading()
        self._ready.clear()
        if self._order is not None:
            self._order.clear()
        handling = self._running | self._claimed
        for task in handling:
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)

    async def _stop_reading(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        # Nobody looks at the lanes any more, so nobody may wait for it.
        self._read_after = sys.maxsize
        self._looked.set()

    async def _read(self) -> None:
        consumer = self._link.instance
        while True:
            await self._room.wait()
            await self._gate.wait()
            try:
                if self._must_look_back:
                    # A reply that was lost with the connection may have put frames into our hands unseen.
                    with self._held.noting_released() as released:
                        pending = await self._store.read_pending(consumer)
                    for frame in pending:
                        # What was settled while we asked was still open when the server looked.
                        if (frame.lane, frame.entry) not in released:
                            self._take_frame(frame.lane, frame.entry, frame.frame, frame.marks)
                    self._must_look_back = False
                is_full = self._is_full
                has_plenty = self._out_of_turn > self._max_in_flight
                counts = {
                    lane: 0 if is_full and (has_plenty or self._ready.length(lane) >= most) else most
                    for lane, most in _READ_FRAMES.items()
                }
                self._is_waiting = not is_full
                stored_frames = await self._store.read_inbox(consumer, counts, 0 if is_full else _BLOCK_MS)
            except MasError as error:
                log.warning("store.unavailable", agent=self._store.agent_id, reason=error.message)
                self._must_look_back = True
                await asyncio.sleep(_RECONNECT_S)
                continue
            self._since_read = 0
            self._is_waiting = False
            self._looked.set()
            # Lanes that stay empty are looked at less and less often.
            is_news = stored_frames or not is_full
            self._read_after = _READ_AFTER if is_news else min(2 * self._read_after, _MAX_READ_AFTER)
            if stored_frames:
                failpoint("agent.read")
            for stored in stored_frames:
                self._take_frame(stored.lane, stored.entry, stored.frame, "", is_new=True)
            if self._is_full:
                self._room.clear()

    def _take_frame(self, lane: str, entry: str, frame: Frame, marks: str, *, is_new: bool = False) -> None:
        self._ready.extend(lane, self._held.take(lane, entry, frame, marks, is_new=is_new))
        self._pump()

    def release(self, lane: str, entry: str, count: int) -> None:
        """Messages of a frame are settled or handed back; they are no longer in our hands."""
        self._held.release(lane, entry, count)

    def _pump(self) -> None:
        if not self._gate.is_set():
            return
        if self._ready and len(self._running) < self._max_in_flight:
            self._start_workers(1)
        if self._is_full:
            self._room.clear()

    @property
    def _is_full(self) -> bool:
        """Whether there are more messages than can be started."""
        return len(self._ready) + len(self._running) + self._out_of_turn > self._max_in_flight

    @property
    def _out_of_turn(self) -> int:
        """Messages that wait for another one of their sender."""
        return len(self._order) + len(self._paused) if self._order is not None else 0

    def _start_workers(self, count: int) -> None:
        for _ in range(count):
            self._add_worker(self._work())
        # Handlers that never wait are run by one worker; only where they wait, others are worth their price.
        asyncio.get_running_loop().call_soon(self._grow)

    def _add_worker(self, work: Coroutine[None, None, None]) -> None:
        worker = asyncio.create_task(work)
        self._running.add(worker)
        worker.add_done_callback(self._running.discard)

    def _grow(self) -> None:
        """Start more workers when those there are all wait in their handlers; twice as many each time."""
        if not self._ready or not self._gate.is_set():
            return
        if self._pausing:
            asyncio.get_running_loop().call_soon(self._grow)
        else:
            running = len(self._running)
            count = min(len(self._ready), self._max_in_flight - running, max(1, running))
            if count > 0:
                self._start_workers(count)

    async def _work(self) -> None:
        """Handle one message after the other until there are no more.

        It takes each just before it starts its handler, so that handlers start in the order of the queue.
        """
        since_pause = 0
        while self._ready and self._gate.is_set():
            if 2 * self._since_read >= self._read_after:
                self._room.set()
                if self._since_read >= self._read_after and not self._is_waiting:
                    # Handlers that never wait must not outrun the look at the lanes that have run out.
                    self._looked.clear()
                    await self._looked.wait()
                    continue
            held = self._ready.take()
            self._since_read += 1
            if not (self._room.is_set() or self._is_full):
                self._room.set()
            if self._order is None or held.delivery is None:
                await self._start(held)
            else:
                sender = held.delivery.sender
                if self._order.begin(sender, held):
                    await self._go_on(self._order, sender, held)
            since_pause += 1
            if since_pause == PAUSE_AFTER:
                # Handlers that never wait must not keep others, and the reader, from running.
                since_pause = 0
                self._pausing += 1
                try:
                    await asyncio.sleep(0)
                finally:
                    self._pausing -= 1
        self._room.set()

    async def _go_on(self, order: SenderOrder[_InTurn], sender: str, following: _InTurn | None) -> None:
        """Handle a message whose turn it is, and then those of its sender that wait for it."""
        while isinstance(following, Held):
            if not self._gate.is_set():
                self._paused.append((sender, following))
                return
            try:
                await self._start(following)
            finally:
                following = order.end(sender)
            if not self._is_full:
                self._room.set()
        if following is not None and not following.done():
            following.set_result(None)

    async def _start(self, held: Held) -> None:
        """Handle a message; the start of one that failed before is noted, as it may be the one that kills."""
        try:
            if held.delivery is not None and held.delivery.attempt > 1:
                starts = await self.mark_started(held)
                if starts == SETTLED_ELSEWHERE:
                    self.release(held.lane, held.entry, 1)
                    return
                held = msgspec.structs.replace(held, starts=starts)
            await self._handle(held)
        except Exception as error:  # noqa: BLE001 - a lost message must not take the others with it
            self._note_lost(error)
        finally:
            if self._noted:
                self._noted.pop((held.lane, held.entry, held.position), None)

    async def _finish(self, handling: Awaitable[None]) -> None:
        try:
            await handling
        except Exception as error:  # noqa: BLE001 - a lost message must not take the others with it
            self._note_lost(error)

    def _note_lost(self, error: Exception) -> None:
        log.error("handler.lost", agent=self._store.agent_id, trace=trace_of(error))

    async def _claim(self) -> None:
        while True:
            await self._gate.wait()
            try:
                claimed = await self._store.claim(self._link.instance, ALIVE_MS, CLAIM_FRAMES)
                messages: list[Held] = []
                if claimed:
                    failpoint("agent.claimed")
                for frame in claimed:
                    log.info("frame.claimed", agent=self._store.agent_id, lane=frame.lane, entry=frame.entry)
                    messages += self._held.take(frame.lane, frame.entry, frame.frame, frame.marks)
                await self._run_claimed(messages)
                if claimed:
                    continue
            except MasError as error:
                log.warning("store.unavailable", agent=self._store.agent_id, reason=error.message)
                # What was claimed may be in our hands unseen.
                self._must_look_back = True
            await asyncio.sleep(CLAIM_INTERVAL_S)

    async def _run_claimed(self, messages: list[Held]) -> None:
        """One by one, each settled before the next: a message that kills its process burns only its own starts.

        One that takes long is not waited for: it must not hold up the others.
        """
        for held in messages:
            await self._gate.wait()
            worker = asyncio.create_task(self._finish(self._start_claimed_in_turn(held)))
            self._claimed.add(worker)
            worker.add_done_callback(self._claimed.discard)
            # Whoever ends this loop takes no more messages, but lets the one that was started finish.
            await asyncio.wait([worker], timeout=ALONE_S)

    async def _start_claimed_in_turn(self, held: Held) -> None:
        order = self._order
        if order is None or held.delivery is None:
            await self._start_claimed(held)
            return
        sender = held.delivery.sender
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not order.begin(sender, turn):
            await turn
        try:
            await self._start_claimed(held)
        finally:
            following = order.end(sender)
        await self._go_on(order, sender, following)

    async def _start_claimed(self, held: Held) -> None:
        starts = await self.mark_started(held)
        if starts == SETTLED_ELSEWHERE:
            self.release(held.lane, held.entry, 1)
        elif starts > 1 and held.delivery is not None:
            await self._give_up(held)
        else:
            await self._handle(msgspec.structs.replace(held, starts=starts, takeovers=starts))
            await self._settled()
        self._noted.pop((held.lane, held.entry, held.position), None)

    async def forget_starts(self, may_start_again: Callable[[Held], bool]) -> None:
        """Take back the noted starts of handlers that are stopped because this instance ends, not the other way."""
        places = [place for place, held in self._noted.items() if may_start_again(held)]
        self._noted.clear()
        if places:
            with contextlib.suppress(MasError):
                await self._store.forget_starts(self._link.instance, places)

    def keep_starts(self) -> None:
        """Take no noted start back any more."""
        self._noted.clear()

    async def mark_started(self, held: Held) -> int:
        """Note that a handler starts, once the server takes it: how often that was noted, or SETTLED_ELSEWHERE."""
        delays = exponential_delays(_RECONNECT_S, CLAIM_INTERVAL_S)
        while True:
            try:
                starts = await self._store.mark_started(
                    self._link.instance, held.lane, held.entry, held.position
                )
                failpoint("agent.marked_started")
                if starts > 0:
                    self._noted[held.lane, held.entry, held.position] = held
                return starts
            except MasError as error:
                log.warning("store.unavailable", agent=self._store.agent_id, reason=error.message)
                await asyncio.sleep(next(delays))
