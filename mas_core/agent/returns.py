"""Tells the gateway what became of messages: those that are handed back, and outcomes for its circuits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from mas_core.agent.client import Client
from mas_core.agent.held_frames import Held
from mas_core.agent.retries import Retries
from mas_core.base.backoff import exponential_delays
from mas_core.base.failpoints import failpoint
from mas_core.base.logs import get_logger
from mas_core.errors import MasError
from mas_core.model.message import NACK, OUTCOME, AgentMessage
from mas_core.model.retry import MAX_DELAY_MS

log = get_logger(__name__)

MAX_TELLING = 64
"""Outcomes that are on their way to the gateway at the same time; more are not told."""
_RETRY_S = 0.5
_MAX_RETRY_S = 30.0


class Returns:
    """What one instance gives back.

    Args:
        client: Tells the gateway.
        retries: When messages come again that could not be handled.
        release: Called with lane, entry and number of messages that are no longer in our hands.
    """

    def __init__(self, client: Client, retries: Retries, release: Callable[[str, str, int], None]) -> None:
        self._client = client
        self._retries = retries
        self._release = release
        self._telling: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Tell no more outcomes."""
        for task in list(self._telling):
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def hand_back(
        self,
        held: Held,
        code: str,
        reason: str,
        *,
        retryable: bool,
        wait_s: float = 0.0,
        is_spent: bool = False,
    ) -> None:
        """Give a message back to the gateway, which tries it again later or keeps it as a dead letter.

        Args:
            held: The message.
            code: Why, as a word.
            reason: Why, in words.
            retryable: Whether another try may help.
            wait_s: Seconds after which it should come again, where that is known.
            is_spent: Whether its handler may not be started again.
        """
        data: dict[str, object] = {
            "lane": held.lane,
            "entry": held.entry,
            "position": held.position,
            "code": code,
            "reason": reason,
            "retryable": retryable,
            "is_spent": is_spent,
        }
        policy = self._retries.of(held.delivery.type) if held.delivery is not None else None
        if policy is not None:
            data["retry"] = policy.terms
        if wait_s:
            data["wait_ms"] = min(MAX_DELAY_MS, round(wait_s * 1000))
        for delay in exponential_delays(_RETRY_S, _MAX_RETRY_S):
            try:
                failpoint("agent.before_hand_back")
                await self._client.tell(NACK, data)
                failpoint("agent.after_hand_back")
                break
            except MasError as error:
                # Handing back twice is harmless, so it is tried until a gateway confirms it.
                log.error("message.kept", lane=held.lane, entry=held.entry, reason=error.message)
                if not error.retryable:
                    break
                await asyncio.sleep(delay)
        self._release(held.lane, held.entry, 1)

    def tell_outcome(self, message: AgentMessage, code: str) -> None:
        """Tell the gateway what became of a settled message, for its circuits; it does not matter if it is lost."""
        if len(self._telling) < MAX_TELLING:
            data = {"message_id": message.message_id, "sender": message.sender_id, "code": code[:64]}
            task = asyncio.create_task(self._tell(OUTCOME, data))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, message_type: str, data: object) -> None:
        with contextlib.suppress(MasError):
            await self._client.tell(message_type, data)
