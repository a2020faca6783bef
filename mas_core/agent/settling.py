"""Settles handled messages, many in one round trip."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from mas_core.base.backoff import exponential_delays
from mas_core.base.failpoints import failpoint
from mas_core.base.logs import get_logger
from mas_core.errors import MasError
from mas_core.store.agents import Settlement
from mas_core.store.contract import AgentStreams

log = get_logger(__name__)

LINGER_S = 0.005
"""How long a handled message may wait for others to be settled with: a durable server writes to disk for each call.

If the process dies meanwhile, another instance handles it again, as any that was handled just then.
"""
MAX_WITH_STATE = 128
"""States that are committed in one call."""
_RETRY_S = 0.3
_MAX_RETRY_S = 2.0


class Settler:
    """Collects what is handled and settles it; what waits meanwhile goes into the next call.

    Args:
        store: The agent's streams.
        consumer: The instance that handled the messages.
        on_settled: Called with lane, entry and number of messages once they are settled without a state.
    """

    def __init__(
        self, store: AgentStreams, consumer: str, on_settled: Callable[[str, str, int], None]
    ) -> None:
        self._store = store
        self._consumer = consumer
        self._on_settled = on_settled
        self._handled: dict[tuple[str, str], tuple[int, list[int]]] = {}
        self._waiting: deque[tuple[Settlement, asyncio.Future[int]]] = deque()
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        """Set when somebody waits, so that there is no lingering."""
        self._flushing: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start settling."""
        self._task = asyncio.create_task(self._run())

    async def flush(self) -> None:
        """Wait until every message that `settle` was given so far is settled."""
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushing.append(settled)
        self._hurry.set()
        self._wake.set()
        await settled

    async def stop(self) -> None:
        """Stop at once; what is not settled will be handled again."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def settle(self, lane: str, entry: str, total: int, position: int) -> None:
        """Settle a message whose handler left no state, soon; the handler's place is free at once."""
        frame = self._handled.get((lane, entry))
        if frame is None:
            self._handled[lane, entry] = (total, [position])
        else:
            frame[1].append(position)
        self._wake.set()

    def settle_alone(self, settlement: Settlement) -> asyncio.Future[int]:
        """Settle a message whose settlement has to be waited for: with the state of its handler, or a mark.

        The future gives the store's answer.
        """
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, answer))
        self._hurry.set()
        self._wake.set()
        return answer

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Handlers that finish in this turn of the loop share the call in any case.
            await asyncio.sleep(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await self._hurry.wait()
            self._hurry.clear()
            while self._handled or self._waiting or self._flushing:
                await self._settle()

    async def _settle(self) -> None:
        handled, self._handled = self._handled, {}
        flushing, self._flushing = self._flushing, []
        batch = [
            Settlement(lane, entry, total, tuple(positions))
            for (lane, entry), (total, positions) in handled.items()
        ]
        with_state = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_WITH_STATE))]
        batch += [settlement for settlement, _ in with_state]
        results = await self._store_settled(batch) if batch else []
        for (lane, entry), (_, positions) in handled.items():
            self._on_settled(lane, entry, len(positions))
        for (_, future), result in zip(with_state, results[len(handled) :], strict=True):
            if not future.done():
                future.set_result(result)
        for settled in flushing:
            if not settled.done():
                settled.set_result(None)

    async def _store_settled(self, batch: list[Settlement]) -> list[int]:
        delays = exponential_delays(_RETRY_S, _MAX_RETRY_S)
        while True:
            try:
                failpoint("agent.before_settle")
                settled = await self._store.settle(self._consumer, batch)
                failpoint("agent.after_settle")
                return settled
            except MasError as error:
                # Settling twice is harmless, so it is tried until the server takes it.
                log.warning("settling.delayed", agent=self._store.agent_id, reason=error.message)
                await asyncio.sleep(next(delays))
