"""Settles handled messages, many in one round trip."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from mas_core.base.logs import get_logger
from mas_core.errors import StoreUnreachable
from mas_core.store.agents import AgentStore, Settlement

log = get_logger(__name__)

MAX_SETTLEMENTS = 512
_RECONNECT_S = 0.3


class Settler:
    """Collects what is handled and settles it; what waits meanwhile goes into the next call."""

    def __init__(self, store: AgentStore, consumer: str) -> None:
        self._store = store
        self._consumer = consumer
        self._waiting: deque[tuple[Settlement, asyncio.Future[int]]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start settling."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop at once; what is not settled will be handled again."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def settle(self, settlement: Settlement) -> asyncio.Future[int]:
        """Queue a settlement; the future gives the store's answer to it."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, answer))
        self._wake.set()
        return answer

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Handlers that finish in this turn of the loop share the call.
            await asyncio.sleep(0)
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_SETTLEMENTS))]
                await self._settle(batch)

    async def _settle(self, batch: list[tuple[Settlement, asyncio.Future[int]]]) -> None:
        merged, owners = _merged(batch)
        while True:
            try:
                results = await self._store.settle(self._consumer, merged)
                break
            except StoreUnreachable as error:
                # Settling twice is harmless, so it is tried until the server is back.
                log.warning("store.unavailable", agent=self._store.agent_id, reason=error.message)
                await asyncio.sleep(_RECONNECT_S)
        for result, futures in zip(results, owners, strict=True):
            for future in futures:
                if not future.done():
                    future.set_result(result)


def _merged(
    batch: list[tuple[Settlement, asyncio.Future[int]]],
) -> tuple[list[Settlement], list[list[asyncio.Future[int]]]]:
    """Settlements of the same frame without a state become one."""
    merged: list[Settlement] = []
    owners: list[list[asyncio.Future[int]]] = []
    places: dict[tuple[str, str], int] = {}
    for settlement, future in batch:
        place = places.get((settlement.lane, settlement.entry))
        if settlement.expected_revision is not None or place is None:
            if settlement.expected_revision is None:
                places[settlement.lane, settlement.entry] = len(merged)
            merged.append(settlement)
            owners.append([future])
        else:
            known = merged[place]
            merged[place] = Settlement(
                known.lane, known.entry, known.total, known.positions + settlement.positions
            )
            owners[place].append(future)
    return merged, owners
