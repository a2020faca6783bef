"""Holds messages that are sent for later, once every check that counts when they are sent has let them pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mas_core.base.clock import rfc3339
from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import Flag
from mas_core.model.scheduled import MAX_AHEAD_MS

SCHEDULE_FULL = "schedule_full"
"""Names the reason in a receipt, where rules are named otherwise."""


class Calendar(Protocol):
    """What is scheduled already."""

    def due_of(self, transit: Transit) -> int:
        """When a message of this target, sender and id is due; 0 when none is scheduled."""

    def refusal(self, sender: str, more: Sequence[str]) -> str:
        """Why a sender may not schedule another one, with these senders' messages to come; empty if it may."""


class HoldUntilDue:
    """What is sent for later waits for its time; what is late already goes on at once."""

    name = "schedule"

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that are for now."""
        if not batch.has_scheduled:
            return transits
        going = []
        for transit in transits:
            verdict = self.check(transit, batch) if transit.envelope.flags & Flag.SCHEDULED else None
            if verdict is None:
                going.append(transit)
            else:
                transit.end(verdict)
        return going

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Scheduled, a refusal, or nothing."""
        before = transit.decision
        verdict = self.rehearse(transit, batch)
        if verdict is not None and verdict.decision is Decision.SCHEDULED and not transit.is_repeat:
            batch.scheduled.append((transit, before))
        return verdict

    def rehearse(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """What `check` would say, and nothing is kept."""
        envelope, now = transit.envelope, batch.now
        if not envelope.flags & Flag.SCHEDULED:
            return None
        if transit.is_reply or transit.expects_reply:
            return Verdict(Decision.INVALID, "neither a request nor a reply can be sent for later")
        if (envelope.deliver_at > 0) == (envelope.delay_ms > 0) or min(
            envelope.deliver_at, envelope.delay_ms
        ):
            return Verdict(Decision.INVALID, "it has to say either when it is due or after how long")
        transit.due = envelope.deliver_at or now - transit.waited_ms + envelope.delay_ms
        if transit.due <= now:
            if now <= transit.due + envelope.ttl_ms:
                return None
            late_s = (now - transit.due) / 1000
            return Verdict(
                Decision.EXPIRED,
                f"the message was due {late_s:g} s ago and was to live {envelope.ttl_ms / 1000:g} s",
            )
        if transit.due > now + MAX_AHEAD_MS:
            return Verdict(Decision.INVALID, "a message can be sent for at most 366 days later")
        known = self._calendar.due_of(transit)
        if known:
            transit.due, transit.is_repeat = known, True
        else:
            refusal = self._calendar.refusal(transit.sender, [one.sender for one, _ in batch.scheduled])
            if refusal:
                hint = f"mas schedule list --from {transit.sender}"
                return Verdict(Decision.BACKPRESSURE, refusal, SCHEDULE_FULL, hint=(hint,))
        return Verdict(Decision.SCHEDULED, f"it is delivered at {rfc3339(transit.due)}")
