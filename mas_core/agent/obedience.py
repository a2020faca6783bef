"""How a running agent follows what an operator says: it holds, goes on, or leaves, and says that it did."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from mas_core.base.logs import get_logger
from mas_core.errors import MasError
from mas_core.model.standing import ACTIVE, HOLDING, Directive, StandingKind

log = get_logger(__name__)


class Obedience:
    """The standing of one running agent, followed in the order in which it was told.

    Args:
        agent_id: Whose it is.
        hold: Starts no more handlers.
        resume: Starts handlers again.
        leave: Ends the agent; gets the reason.
        confirm: Tells the gateway which standing is obeyed.
    """

    def __init__(
        self,
        agent_id: str,
        *,
        hold: Callable[[], None],
        resume: Callable[[], None],
        leave: Callable[[str], Awaitable[None]],
        confirm: Callable[[], Awaitable[None]],
    ) -> None:
        self._agent_id = agent_id
        self._hold = hold
        self._resume = resume
        self._leave = leave
        self._confirm = confirm
        self.standing: StandingKind = ACTIVE
        self._confirming: asyncio.Task[None] | None = None
        self._must_confirm = asyncio.Event()
        self._eviction = ""

    def take(self, directive: Directive) -> None:
        """Follow a directive; it is confirmed as soon as the gateway can be reached."""
        if self.standing == "evicted":
            return
        log.warning(
            "agent.standing", agent=self._agent_id, standing=directive.standing, reason=directive.reason
        )
        self.standing = directive.standing
        if directive.standing in HOLDING or directive.standing == "evicted":
            self._hold()
        else:
            self._resume()
        self._eviction = directive.reason or "evicted by an operator"
        self._must_confirm.set()

    def leave(self, reason: str) -> None:
        """End the agent for good, for another reason than an operator's word."""
        if self.standing != "evicted":
            self.standing = "evicted"
            self._hold()
            self._eviction = reason
            self._must_confirm.set()

    def start(self) -> None:
        """Confirm what is told from here on."""
        self._confirming = asyncio.create_task(self._keep_confirming())

    async def stop(self) -> None:
        """Confirm nothing any more."""
        if self._confirming is not None and self._confirming is not asyncio.current_task():
            self._confirming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._confirming
        self._confirming = None

    async def _keep_confirming(self) -> None:
        while True:
            await self._must_confirm.wait()
            self._must_confirm.clear()
            if self.standing == "evicted":
                await self._leave(self._eviction)
                return
            try:
                await self._confirm()
            except MasError as error:
                # The next heartbeat says it too.
                log.warning("heartbeat.unconfirmed", agent=self._agent_id, reason=error.message)
