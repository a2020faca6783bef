"""Tells the gateway that an agent is there, again and again, and notices when it may not be there any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from mas_core.agent.client import Client
from mas_core.base.logs import get_logger
from mas_core.errors import AgentNotFound, Forbidden, MasError, StoreFull, Unauthenticated, Unreachable
from mas_core.model.message import ATTACH, BEAT, DETACH

log = get_logger(__name__)

ATTACH_TIMEOUT_S = 30.0
DETACH_TIMEOUT_S = 2.0
BEAT_RETRY_S = 2.0
"""Seconds after which a heartbeat that nobody confirmed is tried again."""


class Heartbeat:
    """The heartbeat of one running agent.

    Args:
        client: Sends as the agent.
        interval_s: Time between heartbeats.
        facts: What the gateway is told of the agent.
        lose_token: Called when the token is refused for good; no heartbeat follows.
        be_replaced: Called when a younger instance has taken the agent's place.
    """

    def __init__(
        self,
        client: Client,
        interval_s: float,
        facts: Callable[[], Mapping[str, object]],
        *,
        lose_token: Callable[[MasError], None],
        be_replaced: Callable[[], None],
    ) -> None:
        self._client = client
        self._interval_s = interval_s
        self._facts = facts
        self._lose_token = lose_token
        self._be_replaced = be_replaced
        self._is_due = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None
        self._is_over = False

    def start(self) -> None:
        """Send heartbeats from now on."""
        self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        """Send no more."""
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
            self._beating = None

    def hurry(self) -> None:
        """Send the next one at once: there is something to tell."""
        self._is_due.set()

    def end(self) -> None:
        """The agent ends: it does not say any more that it is there again."""
        self._is_over = True

    async def attach(self) -> None:
        """Say that the agent is there; raises as `Client.tell`."""
        await self._say(ATTACH, ATTACH_TIMEOUT_S)

    async def confirm(self) -> None:
        """Tell now what is new; raises as `Client.tell`."""
        await self._say(BEAT, ATTACH_TIMEOUT_S)

    async def detach(self) -> None:
        """Say goodbye, if anybody listens."""
        with contextlib.suppress(MasError):
            await self._say(DETACH, DETACH_TIMEOUT_S)

    async def _say(self, message_type: str, timeout: float) -> None:
        await self._client.tell(message_type, self._facts(), timeout)

    async def _beat(self) -> None:
        pause = self._interval_s
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_due.wait(), pause)
            self._is_due.clear()
            pause = self._interval_s
            try:
                # A gateway does not answer those whose token it does not know, so that is asked first.
                await self._client.check_token()
                await self._client.read_clock()
                await self._say(BEAT, self._interval_s)
            except (Unauthenticated, AgentNotFound) as error:
                self._lose_token(error)
                return
            except (Unreachable, StoreFull) as error:
                log.warning("heartbeat.unconfirmed", agent=self._client.agent_id, reason=error.message)
                # A whole interval more, and it would count as gone although it is back.
                pause = min(pause, BEAT_RETRY_S)
            except Forbidden as error:
                reason = error.details.get("because", error.message)
                log.error("heartbeat.refused", agent=self._client.agent_id, reason=reason)
                if error.details.get("rule") == "incarnation":
                    await self._begin_again()
            except MasError as error:
                log.error("heartbeat.refused", agent=self._client.agent_id, reason=error.message)

    async def _begin_again(self) -> None:
        """The gateway took this instance for dead: it has to say that it is there, unless it was replaced."""
        if self._is_over:
            return
        try:
            await self.attach()
        except Forbidden as error:
            if error.details.get("rule") == "incarnation":
                self._be_replaced()
        except MasError as error:
            log.warning("heartbeat.unconfirmed", agent=self._client.agent_id, reason=error.message)
