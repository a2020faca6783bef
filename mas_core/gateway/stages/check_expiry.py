"""Refuses messages whose time to live ended before the gateway saw them."""

from __future__ import annotations

from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision

CLOCK_TOLERANCE_MS = 60_000
"""Senders stamp with their own clock; one that is a minute off loses nothing."""


class CheckExpiry:
    """Time to live, counted from when the sender made the message."""

    name = "expiry"

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Expired, or nothing."""
        age = batch.now - transit.envelope.sent_at
        if age > transit.envelope.ttl_ms + CLOCK_TOLERANCE_MS:
            return Verdict(
                Decision.EXPIRED,
                f"the message is {age / 1000:.0f} s old and was to live {transit.envelope.ttl_ms / 1000:.0f} s",
            )
        return None
