"""Refuses messages whose time to live ended before the gateway saw them."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision

CLOCK_TOLERANCE_MS = 60_000
"""Senders stamp with their own clock; one that is a minute off loses nothing."""


class CheckExpiry:
    """Time to live, counted from when the sender made the message."""

    name = "expiry"

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that are young enough."""
        earliest = batch.now - CLOCK_TOLERANCE_MS
        for transit in transits:
            if transit.envelope.sent_at + transit.envelope.ttl_ms < earliest:
                return one_by_one(self, transits, batch)
        return transits

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Expired, or nothing."""
        age = batch.now - transit.envelope.sent_at
        if age > transit.envelope.ttl_ms + CLOCK_TOLERANCE_MS:
            return Verdict(
                Decision.EXPIRED,
                f"the message is {age / 1000:.0f} s old and was to live {transit.envelope.ttl_ms / 1000:.0f} s",
            )
        return None
