"""Reads the ingress of a partition ahead, so that the next batch is at hand while one is judged.

Lanes are served by weight in messages. A lane that has more in the store than was read must not lose its share
to the others for that: a batch ends where such a lane runs out, and the next waits until more of it is here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from mas_core.base.failpoints import failpoint
from mas_core.base.fair_queue import FairQueue
from mas_core.base.logs import get_logger
from mas_core.errors import InternalError, MasError
from mas_core.model.frame import MAX_FRAME_BYTES, MAX_FRAME_MESSAGES
from mas_core.model.operator_entry import OPERATOR_LANE
from mas_core.model.priority import LANES
from mas_core.security.seals import read_header
from mas_core.store.partitions import WAITING_READ_FRAMES, PartitionStore
from mas_core.store.stored import StoredFrame

log = get_logger(__name__)

MAX_BATCH_MESSAGES = 1000
MAX_BATCH_BYTES = 2 * MAX_FRAME_BYTES
MAX_READ_AHEAD = 32
"""Frames of one lane that are read before they are judged."""
READ_FRAMES = 16
"""Frames of one lane that are read at once."""
BLOCK_MS = 1000
MAX_OPERATOR_ENTRIES = 64
"""Entries of the operator log that are read before they are recorded."""
LOOK_S = 0.25
"""How long a batch waits for more of a lane."""


class ReadAhead:
    """The frames of one partition that were read and are not judged.

    Args:
        partition: Where to read.
        lane_weights: How often each lane is served.
    """

    def __init__(self, partition: PartitionStore, lane_weights: Mapping[str, int]) -> None:
        self._partition = partition
        self._frames: FairQueue[StoredFrame] = FairQueue(lane_weights)
        self._operator_entries: list[StoredFrame] = []
        self.operator_log_unreadable = False
        """Whether the operator log holds something else than a log; the lanes are read all the same."""
        self._cursors: dict[str, str] = {}
        self._has_more: dict[str, bool] = dict.fromkeys(LANES, False)
        """Lanes of which more frames may wait in the store than were read."""
        self._looked = asyncio.Event()
        """Set with each answer of the store about frames that wait."""
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    def start_from(self, cursors: Mapping[str, str]) -> None:
        """Forget what was read and read from these cursors on."""
        self._frames.clear()
        self._operator_entries.clear()
        self.operator_log_unreadable = False
        self._has_more = dict.fromkeys(LANES, False)
        self._cursors = dict(cursors)

    def start(self) -> None:
        """Start reading."""
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, MasError):
                await self._reading
            self._reading = None

    def wake(self) -> None:
        """Let go whoever waits for frames."""
        self._arrived.set()

    async def wait(self, seconds: float) -> None:
        """Wait for frames, for so long at most.

        Raises:
            MasError: Reading failed.
        """
        if not self._frames:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        await self._look_at_lanes()
        if self._reading is not None and self._reading.done():
            # It ends only with an error, which is for whoever waits.
            self._reading.result()
        self._arrived.clear()

    def take(self, *, one: bool = False) -> list[StoredFrame]:
        """The frames of the next batch; with `one` not more than that."""
        frames: list[StoredFrame] = []
        messages = size = 0
        while self._frames:
            stored = self._frames.peek()
            count = _count(stored)
            messages += count
            size += len(stored.frame.body)
            is_full = messages > MAX_BATCH_MESSAGES or size > MAX_BATCH_BYTES
            if frames and (is_full or one):
                break
            frames.append(self._frames.take(count))
            if self._has_more[stored.lane] and not self._frames.length(stored.lane):
                # It has its share only if the others wait until there is more of it here.
                break
        self._has_room.set()
        return frames

    def take_operator_entries(self) -> list[StoredFrame]:
        """What was read of the operator log."""
        entries, self._operator_entries = self._operator_entries, []
        return entries

    async def _read(self) -> None:
        while True:
            try:
                await self._read_once()
            except InternalError as error:
                if OPERATOR_LANE not in self._cursors:
                    raise
                # Without it the lanes can be read, if it was that; the next start reads it again.
                del self._cursors[OPERATOR_LANE]
                self.operator_log_unreadable = True
                log.error("operator_log.unreadable", reason=error.message)

    async def _read_once(self) -> None:
        while True:
            counts: dict[str, int] = {
                lane: min(READ_FRAMES, MAX_READ_AHEAD - self._frames.length(lane)) for lane in LANES
            }
            if OPERATOR_LANE in self._cursors:
                counts[OPERATOR_LANE] = min(READ_FRAMES, MAX_OPERATOR_ENTRIES - len(self._operator_entries))
            found = self._take_in(await self._partition.read_ingress(self._cursors, counts), counts)
            if not found and min(counts.values()) > 0:
                self._take_in(
                    await self._partition.wait_for_ingress(self._cursors, BLOCK_MS),
                    dict.fromkeys(counts, WAITING_READ_FRAMES),
                )
            is_full = len(self._operator_entries) >= MAX_OPERATOR_ENTRIES
            if is_full or any(self._frames.length(lane) >= MAX_READ_AHEAD for lane in LANES):
                # With the next batch there is room again; the other lanes are looked at then, too.
                self._has_room.clear()
                await self._has_room.wait()

    def _take_in(self, stored_frames: list[StoredFrame], counts: Mapping[str, int]) -> int:
        """Keep frames that were read; how many there were."""
        if stored_frames:
            failpoint("gateway.read")
        left = dict(counts)
        for stored in stored_frames:
            self._cursors[stored.lane] = stored.entry
            if stored.lane == OPERATOR_LANE:
                self._operator_entries.append(stored)
                continue
            self._frames.extend(stored.lane, (stored,))
            left[stored.lane] -= 1
        for lane, count in counts.items():
            if count > 0 and lane != OPERATOR_LANE:
                self._has_more[lane] = left[lane] <= 0
        if stored_frames:
            self._arrived.set()
        self._looked.set()
        return len(stored_frames)

    async def _look_at_lanes(self) -> None:
        """Wait while a lane that has more frames has none here: the others must not go on without it."""
        while (
            self._reading is not None
            and not self._reading.done()
            and any(more and not self._frames.length(lane) for lane, more in self._has_more.items())
        ):
            self._has_room.set()
            self._looked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._looked.wait()


def _count(stored: StoredFrame) -> int:
    try:
        return min(max(1, read_header(stored.frame).count), MAX_FRAME_MESSAGES)
    except MasError:
        return 1
