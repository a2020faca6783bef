"""The inbox: reads delivered frames, runs a handler for each message, takes over what dead instances held."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from mas_core.agent.link import Link
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import DecryptionFailed, MasError
from mas_core.model.frame import DELIVERIES_DECODER, Frame, Place
from mas_core.model.message import Delivery
from mas_core.store.agents import AgentStore

log = get_logger(__name__)

CLAIM_INTERVAL_S = 5.0
CLAIM_FRAMES = 16
ALIVE_MS = 60_000
MAX_STARTS = 3
"""How often a message may be started after the instance that held it died."""
PAUSE_AFTER = 32
_BLOCK_MS = 1000
_RECONNECT_S = 0.3
_COUNTS = {"high": 16, "normal": 8, "low": 2}


@dataclass(frozen=True, slots=True)
class Held:
    """One message in this instance's hands."""

    lane: str
    entry: str
    total: int
    position: int
    delivery: Delivery


class Inbox:
    """Reads an agent's inbox for one instance.

    Args:
        link: Opens frames.
        store: The agent's streams.
        handle: Handles one message and settles it; must not raise.
        give_up: Hands a message back that may not be started again.
        max_in_flight: Handlers that run at the same time.
    """

    def __init__(
        self,
        link: Link,
        store: AgentStore,
        handle: Callable[[Held], Awaitable[None]],
        give_up: Callable[[Held], Awaitable[None]],
        max_in_flight: int,
    ) -> None:
        self._link = link
        self._store = store
        self._handle = handle
        self._give_up = give_up
        self._max_in_flight = max_in_flight
        self._ready: deque[Held] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._held: dict[tuple[str, str], int] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def in_hand(self) -> int:
        """Messages that were read and are not settled."""
        return len(self._running) + len(self._ready)

    def start(self) -> None:
        """Start reading."""
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._claim())]

    async def drain(self, timeout_s: float) -> bool:
        """Stop reading and let what is in hand finish; False when it did not within the time."""
        await self._stop_reading()
        try:
            async with asyncio.timeout(timeout_s):
                while self._running:
                    await asyncio.wait(self._running)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop at once; what is in hand will be handled by another instance."""
        await self._stop_reading()
        self._ready.clear()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _stop_reading(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    async def _read(self) -> None:
        consumer = self._link.instance
        must_look_back = False
        while True:
            await self._room.wait()
            try:
                if must_look_back:
                    # A reply that was lost with the connection may have put frames into our hands unseen.
                    for frame in await self._store.read_pending(consumer):
                        self._take_frame(frame.lane, frame.entry, frame.frame, frame.marks)
                    must_look_back = False
                stored_frames = await self._store.read_inbox(consumer, _COUNTS, _BLOCK_MS)
            except MasError as error:
                log.warning("store.unavailable", agent=self._store.agent_id, reason=error.message)
                must_look_back = True
                await asyncio.sleep(_RECONNECT_S)
                continue
            for stored in stored_frames:
                self._take_frame(stored.lane, stored.entry, stored.frame, "")

    def _take_frame(self, lane: str, entry: str, frame: Frame, marks: str) -> None:
        if (lane, entry) in self._held:
            return
        for held in self._open(lane, entry, frame, marks):
            self._held[lane, entry] = self._held.get((lane, entry), 0) + 1
            self._ready.append(held)
        self._pump()

    def _open(self, lane: str, entry: str, frame: Frame, marks: str) -> list[Held]:
        try:
            header, body = self._link.open(frame, Place.INBOX)
            deliveries = DELIVERIES_DECODER.decode(body) if header.lane == lane else []
        except (DecryptionFailed, msgspec.DecodeError):
            deliveries = []
        if not deliveries:
            log.error("delivery.unauthentic", agent=self._store.agent_id, lane=lane, entry=entry)
        return [
            Held(lane, entry, len(deliveries), position, delivery)
            for position, delivery in enumerate(deliveries)
            if marks[position : position + 1] != "x"
        ]

    def release(self, lane: str, entry: str, count: int) -> None:
        """Messages of a frame are settled or handed back; they are no longer in our hands."""
        left = self._held.get((lane, entry), 0) - count
        if left > 0:
            self._held[lane, entry] = left
        else:
            self._held.pop((lane, entry), None)

    def _pump(self) -> None:
        for _ in range(min(len(self._ready), self._max_in_flight - len(self._running))):
            worker = asyncio.create_task(self._work(self._ready.popleft()))
            self._running.add(worker)
            worker.add_done_callback(self._running.discard)
        if self._ready:
            self._room.clear()

    async def _work(self, held: Held) -> None:
        """Handle one message after the other until there are no more."""
        since_pause = 0
        while True:
            try:
                await self._handle(held)
            except Exception as error:  # noqa: BLE001 - a lost message must not take the others with it
                log.error("handler.lost", agent=self._store.agent_id, trace=trace_of(error))
            if not self._ready:
                self._room.set()
                return
            held = self._ready.popleft()
            since_pause += 1
            if since_pause == PAUSE_AFTER:
                # Handlers that never wait must not keep others, and the reader, from running.
                since_pause = 0
                await asyncio.sleep(0)

    async def _claim(self) -> None:
        while True:
            try:
                claimed = await self._store.claim(self._link.instance, ALIVE_MS, CLAIM_FRAMES)
                for frame in claimed:
                    log.info("frame.claimed", agent=self._store.agent_id, lane=frame.lane, entry=frame.entry)
                    for held in self._open(frame.lane, frame.entry, frame.frame, frame.marks):
                        await self._run_claimed(held)
                if claimed:
                    continue
            except MasError as error:
                log.warning("store.unavailable", agent=self._store.agent_id, reason=error.message)
            await asyncio.sleep(CLAIM_INTERVAL_S)

    async def _run_claimed(self, held: Held) -> None:
        """One by one and marked first, so that a message which kills its process burns only its own attempts."""
        self._held[held.lane, held.entry] = self._held.get((held.lane, held.entry), 0) + 1
        starts = await self._store.mark_started(held.lane, held.entry, held.position)
        if starts > MAX_STARTS:
            await self._give_up(held)
        else:
            await self._handle(held)
