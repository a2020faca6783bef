"""Speaks for agents that leave sealing to the server: their tokens, and clients that send as them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from mas_core.agent.client import Client
from mas_core.base.logs import get_logger
from mas_core.errors import MasError, RateLimited, SecretUnavailable, Unauthenticated
from mas_core.settings.private_files import read_token
from mas_core.store.contract import AgentSide
from mas_core.store.store import Store

log = get_logger(__name__)

MAX_CLIENTS: Final = 256
IDLE_S: Final = 60.0
"""How long a client is kept that nobody uses."""
_JUST_S: Final = 1.0

Result = TypeVar("Result")


class Hosted:
    """What agents need that run in the server: its store, and the tokens that the project keeps.

    Args:
        store: The system's.
        tokens_dir: Where the project keeps tokens; None where it keeps none.
    """

    def __init__(self, store: Store, tokens_dir: Path | None) -> None:
        self._store = store
        self._tokens_dir = tokens_dir

    @property
    def store(self) -> AgentSide:
        """The system's."""
        return self._store

    async def admit(self, agent_id: str) -> str:
        """The token of an agent.

        Raises:
            SecretUnavailable: The project keeps none, or it cannot be read.
        """
        reason = "the server knows no folder of tokens"
        if self._tokens_dir is not None:
            try:
                return await asyncio.to_thread(read_token, self._tokens_dir, agent_id)
            except SecretUnavailable as error:
                reason = error.message
        # Whoever calls learns nothing of the files here.
        log.error("token.unavailable", agent=agent_id, reason=reason)
        raise SecretUnavailable(
            f"the server cannot speak for {agent_id}: the project keeps no token of it that can be read",
            hint=(f"mas agent token rotate {agent_id}", f"mas agent register {agent_id}"),
            agent_id=agent_id,
        )


@dataclass(eq=False, slots=True)
class _Kept:
    client: Client
    users: int
    idle_since: float


class HostedClients:
    """One client for each agent that calls, made at its first call and closed when it is idle.

    Args:
        hosted: Has the store and the tokens.
        most: Clients at the same time.
        idle_s: Seconds that one is kept which nobody uses.
    """

    def __init__(self, hosted: Hosted, *, most: int = MAX_CLIENTS, idle_s: float = IDLE_S) -> None:
        self._hosted = hosted
        self._most = most
        self._idle_s = idle_s
        self._kept: dict[str, _Kept] = {}
        self._starting: dict[str, asyncio.Task[_Kept]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Clients that there are."""
        return len(self._kept)

    async def use(self, agent_id: str, work: Callable[[Client], Awaitable[Result]]) -> Result:
        """Do something with the client of an agent.

        Raises:
            SecretUnavailable: The project keeps no token of it.
            RateLimited: There are too many agents that call at the same time.
            MasError: Whatever `work` raises, or the start of the client.
        """
        is_new = agent_id not in self._kept
        while True:
            kept = self._kept.get(agent_id) or await self._started(agent_id)
            kept.users += 1
            try:
                return await work(kept.client)
            except Unauthenticated:
                # The project may keep another token by now, and what was refused was not carried out.
                self._drop(agent_id, kept)
                if is_new:
                    raise
                is_new = True
            finally:
                kept.users -= 1
                kept.idle_since = time.monotonic()

    async def close(self) -> None:
        """Close all of them."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
            self._sweeping = None
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        for agent_id, kept in list(self._kept.items()):
            self._drop(agent_id, kept)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _started(self, agent_id: str) -> _Kept:
        starting = self._starting.get(agent_id)
        if starting is None:
            self._make_room()
            starting = self._starting[agent_id] = asyncio.create_task(self._start(agent_id))
            starting.add_done_callback(lambda task: self._has_started(agent_id, task))
        # All who wait share it, so none of them ends it.
        return await asyncio.shield(starting)

    async def _start(self, agent_id: str) -> _Kept:
        client = Client(self._hosted.store, agent_id, await self._hosted.admit(agent_id))
        try:
            await client.start()
        except BaseException:
            await client.stop()
            raise
        return _Kept(client, 0, time.monotonic())

    def _has_started(self, agent_id: str, starting: asyncio.Task[_Kept]) -> None:
        self._starting.pop(agent_id, None)
        if not starting.cancelled() and starting.exception() is None:
            self._kept[agent_id] = starting.result()
            if self._sweeping is None:
                self._sweeping = asyncio.create_task(self._sweep())

    def _make_room(self) -> None:
        if len(self._kept) + len(self._starting) < self._most:
            return
        idle = self._idle_for(min(_JUST_S, self._idle_s))
        if not idle:
            raise RateLimited(f"the server speaks for {self._most} agents already", retry_after=_JUST_S)
        self._drop(*min(idle, key=lambda item: item[1].idle_since))

    def _idle_for(self, seconds: float) -> list[tuple[str, _Kept]]:
        before = time.monotonic() - seconds
        return [item for item in self._kept.items() if not item[1].users and item[1].idle_since <= before]

    def _drop(self, agent_id: str, kept: _Kept) -> None:
        if self._kept.get(agent_id) is kept:
            del self._kept[agent_id]
            closing = asyncio.create_task(self._close(agent_id, kept))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _close(self, agent_id: str, kept: _Kept) -> None:
        try:
            await kept.client.stop()
        except MasError as error:
            log.warning("client.not_closed", agent=agent_id, reason=error.message)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._idle_s / 4)
            for agent_id, kept in self._idle_for(self._idle_s):
                self._drop(agent_id, kept)
