"""Leading a group: campaign until elected, renew while it lasts, resign at the end.

What the leader believes errs on the safe side: a term counts from the moment at which its last renewal was asked
for, by the monotonic clock of this process, so it ends here before it can begin elsewhere. A process that is
paused in the middle of something cannot know; what must not come from a former leader carries the `fence`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from mas_core.agent.client import Client
from mas_core.agent.resources import RETRY_S, ask, pause_after
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.coordination.election import DEFAULT_LEASE_MS, KIND, MAX_LEASE_MS, MIN_LEASE_MS, NOT_LEADER
from mas_core.errors import CoordinationRefused, LeadershipLost, MasError, Refused, UsageError
from mas_core.model.message import FENCE_HEADER

WAIT_S = 20.0
"""How long a candidate waits in the queue before it asks again: the queue is in the gateway's memory."""
RENEWALS = 2
"""How often a term is renewed in the time of its lease; each takes a place of the rate limit."""
ANSWER_S = 5.0
"""How long an answer may take beyond the waiting."""

log = get_logger(__name__)

Callback = Callable[["Leadership"], Awaitable[None] | None]


class Leadership:
    """One candidacy for a group; `async with` enters when elected and resigns at the end.

    The body is cancelled when the term is lost, and `LeadershipLost` raised in its place.

    Args:
        client: The candidate, started.
        group: Words of letters, digits, `_` and `-`, joined by dots.
        lease: Seconds after which the group has no leader if it is not renewed: 1 to 300.
        on_elected: Called with this object each time that it is elected.
        on_lost: Called when the term is lost or given up; `async with` ends after it.
    """

    def __init__(
        self,
        client: Client,
        group: str,
        *,
        lease: float = DEFAULT_LEASE_MS / 1000,
        on_elected: Callback | None = None,
        on_lost: Callback | None = None,
    ) -> None:
        if not MIN_LEASE_MS <= lease * 1000 <= MAX_LEASE_MS:
            raise UsageError(
                f"a lease has {MIN_LEASE_MS / 1000:g} to {MAX_LEASE_MS / 1000:g} seconds, not {lease:g}"
            )
        self._client = client
        self.group = group
        self._lease_s = lease
        self._on_elected = on_elected
        self._on_lost = on_lost
        self.term = 0
        """The term that it leads in, or led in last."""
        self._fence = ""
        self._ends = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._body: asyncio.Task[object] | None = None
        self._was_cancelled = False
        self._is_ending = False
        """Whether the term was lost, and what is called then may be under way."""

    @property
    def is_leader(self) -> bool:
        """Whether it leads, as far as this process can know."""
        return time.monotonic() < self._ends

    @property
    def fence(self) -> str:
        """What proves the term to gateways; see `headers`.

        Raises:
            LeadershipLost: It does not lead any more.
        """
        self.check()
        return self._fence

    def check(self) -> None:
        """Make sure that it leads, as far as this process can know.

        Raises:
            LeadershipLost: It does not lead any more.
        """
        if not self.is_leader:
            raise self._lost()

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a message that is refused once a later leader of the group has spoken to its target.

        Raises:
            LeadershipLost: It does not lead any more.
        """
        return {FENCE_HEADER: self.fence}

    async def campaign(self, timeout: float | None = None) -> bool:
        """Wait until elected; False when that did not happen within `timeout` seconds.

        Raises:
            Refused: The policy does not let this agent lead the group.
        """
        await self._stop_renewing()
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = max(0.0, min(WAIT_S, until - time.monotonic()))
            try:
                if await self._ask_for_it(left):
                    break
            except Refused as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(max(RETRY_S, min(pause_after(error), until - time.monotonic())))
            except CoordinationRefused:
                raise
            except MasError as error:
                log.warning("leader.unreachable", group=self.group, reason=error.message)
                await asyncio.sleep(RETRY_S)
            if time.monotonic() >= until:
                return False
        self._renewing = asyncio.create_task(self._renew())
        log.info("leader.elected", group=self.group, term=self.term, agent=self._client.agent_id)
        try:
            await _call(self._on_elected, self)
        except BaseException:
            # Nobody else would end a term in which nobody acts.
            await self.resign()
            raise
        return True

    async def resign(self) -> None:
        """Give the term up, so that the next one can begin at once."""
        await self._stop_renewing()
        if self.is_leader:
            with contextlib.suppress(MasError):
                await ask(self._client, KIND, self.group, "resign", {"term": self.term}, timeout=ANSWER_S)
            self._ends = 0.0
            await _call(self._on_lost, self)

    async def __aenter__(self) -> Self:
        """Wait until elected."""
        self._was_cancelled = False
        while not self.is_leader:
            # What is called on election may take longer than the term lasts.
            await self.campaign()
        self._body = asyncio.current_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Resign; where the term was lost, say so in place of the cancellation that this caused."""
        body, self._body = self._body, None
        try:
            await self.resign()
        finally:
            is_ours = self._was_cancelled and body is not None and body.uncancel() == 0
        if is_ours and kind is asyncio.CancelledError:
            raise self._lost() from None

    async def _ask_for_it(self, wait_s: float) -> bool:
        asked_at = time.monotonic()
        wanted = {"lease_ms": int(self._lease_s * 1000), "wait_ms": int(wait_s * 1000)}
        answer = await ask(self._client, KIND, self.group, "campaign", wanted, timeout=wait_s + ANSWER_S)
        if not answer.get("elected"):
            return False
        self.term, self._fence = int(str(answer["term"])), str(answer["fence"])
        self._ends = asked_at + _seconds_left(answer)
        if self._ends - time.monotonic() < self._lease_s / 2:
            # It waited in the queue, and has a moment to show that it still lives.
            try:
                await self._ask_for_more(ANSWER_S)
            except CoordinationRefused as error:
                if _is_over(error):
                    # The moment passed before it could.
                    self._ends = 0.0
                    return False
                raise
        return self.is_leader

    async def _ask_for_more(self, timeout: float) -> None:
        asked_at = time.monotonic()
        answer = await ask(self._client, KIND, self.group, "renew", {"term": self.term}, timeout=timeout)
        self._ends = asked_at + _seconds_left(answer)

    async def _renew(self) -> None:
        pause = self._lease_s / RENEWALS
        while True:
            await asyncio.sleep(max(0.0, min(pause, self._ends - time.monotonic())))
            if not self.is_leader:
                break
            # One answer that is lost must leave time to ask again.
            left = self._ends - time.monotonic()
            try:
                await self._ask_for_more(max(min(ANSWER_S, self._lease_s / 4, left), 0.01))
                pause = self._lease_s / RENEWALS
            except MasError as error:
                if _is_over(error):
                    break
                log.warning("leader.renewal_failed", group=self.group, reason=error.message)
                pause = min(RETRY_S, self._lease_s / 10)
        self._ends = 0.0
        self._is_ending = True
        log.warning("leader.lost", group=self.group, term=self.term, agent=self._client.agent_id)
        if self._body is not None:
            self._was_cancelled = True
            self._body.cancel()
        try:
            await _call(self._on_lost, self)
        except Exception as error:  # noqa: BLE001 - a callback may fail in any way, and nobody awaits it here
            log.error("leader.callback_failed", group=self.group, trace=trace_of(error))

    async def _stop_renewing(self) -> None:
        renewing = self._renewing
        if renewing is not None and renewing is not asyncio.current_task():
            if not self._is_ending:
                renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
        self._renewing, self._is_ending = None, False

    def _lost(self) -> LeadershipLost:
        return LeadershipLost(
            f"{self._client.agent_id} does not lead {self.group} any more",
            hint=f"mas leader status {self.group}",
            group=self.group,
            term=self.term,
        )


def _is_over(error: MasError) -> bool:
    return error.details.get("agent_code") == NOT_LEADER


def _seconds_left(answer: dict[str, object]) -> float:
    return int(str(answer["expires_in_ms"])) / 1000


async def _call(callback: Callback | None, leadership: Leadership) -> None:
    result = callback(leadership) if callback is not None else None
    if result is not None:
        await result
