"""Reading the ingress ahead: all that comes, in the order of each lane, and of every lane."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from mas_core.gateway.read_ahead import READ_FRAMES, ReadAhead
from mas_core.model.frame import Frame
from mas_core.model.priority import LANE_WEIGHTS, LANES
from mas_core.store.partitions import WAITING_READ_FRAMES
from mas_core.store.stored import StoredFrame


class _Ingress:
    """A partition whose frames come when a test says so."""

    def __init__(self) -> None:
        self.lanes: dict[str, list[StoredFrame]] = {lane: [] for lane in LANES}
        self._came = asyncio.Event()

    def put(self, lane: str, count: int) -> None:
        """Frames come."""
        held = self.lanes[lane]
        held += [StoredFrame(lane, f"{len(held) + n}-0", Frame(b"", b"")) for n in range(1, count + 1)]
        self._came.set()

    async def read_ingress(self, cursors: Mapping[str, str], counts: Mapping[str, int]) -> list[StoredFrame]:
        """As of the store."""
        return self._after(cursors, counts)

    async def wait_for_ingress(self, cursors: Mapping[str, str], _block_ms: int) -> list[StoredFrame]:
        """As of the store."""
        counts: dict[str, int] = dict.fromkeys(LANES, WAITING_READ_FRAMES)
        while not (found := self._after(cursors, counts)):
            self._came.clear()
            await self._came.wait()
        return found

    def _after(self, cursors: Mapping[str, str], counts: Mapping[str, int]) -> list[StoredFrame]:
        found: list[StoredFrame] = []
        for lane in LANES:
            done = int(cursors[lane].partition("-")[0] or 0)
            found += self.lanes[lane][done : done + counts[lane]]
        return found


async def _reading(ingress: Any) -> ReadAhead:
    read_ahead = ReadAhead(ingress, LANE_WEIGHTS)
    read_ahead.start_from(dict.fromkeys(LANES, ""))
    read_ahead.start()
    await asyncio.sleep(0)
    return read_ahead


async def test_a_lane_with_more_than_a_wait_finds_is_read_to_its_end() -> None:
    """More frames than are read at once come in their order, and none is left behind."""
    ingress = _Ingress()
    read_ahead = await _reading(ingress)
    many = WAITING_READ_FRAMES + READ_FRAMES + 3
    ingress.put("low", many)
    taken: list[str] = []
    while len(taken) < many:
        await read_ahead.wait(5)
        taken += [frame.entry for frame in read_ahead.take()]
    await read_ahead.stop()
    assert taken == [f"{number}-0" for number in range(1, many + 1)]


async def test_while_one_lane_is_full_the_others_are_still_read() -> None:
    """Where there is no room to wait for a lane, what comes in another is found by looking."""
    ingress = _Ingress()
    ingress.put("low", 100)
    read_ahead = await _reading(ingress)
    await asyncio.sleep(0.01)
    ingress.put("high", 1)
    lanes: list[str] = []
    while "high" not in lanes:
        await read_ahead.wait(5)
        lanes += [frame.lane for frame in read_ahead.take(one=True)]
    await read_ahead.stop()
    assert len(lanes) < 50
