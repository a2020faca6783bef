"""Refuses messages whose time to live ended before the gateway saw them."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.message import Flag

CLOCK_TOLERANCE_MS = 60_000
"""Senders stamp with their own clock; one that is a minute off loses nothing."""


class CheckExpiry:
    """Time to live, counted by the server's clock from when the message reached the server.

    What the message waited before that only its sender knows; where that tells of more than a minute, it counts.
    """

    name = "expiry"

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that are young enough."""
        earliest = batch.now - CLOCK_TOLERANCE_MS
        for transit in transits:
            envelope = transit.envelope
            if envelope.sent_at + envelope.ttl_ms < earliest or envelope.ttl_ms < transit.waited_ms:
                return one_by_one(self, transits, batch)
        return transits

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Expired, or nothing."""
        if transit.envelope.flags & Flag.SCHEDULED:
            # Its time to live begins when it is due.
            return None
        age, ttl = batch.now - transit.envelope.sent_at, transit.envelope.ttl_ms
        if transit.waited_ms <= ttl:
            if age <= ttl + CLOCK_TOLERANCE_MS:
                return None
        else:
            age = transit.waited_ms
        return Verdict(
            Decision.EXPIRED, f"the message is {age / 1000:g} s old and was to live {ttl / 1000:g} s"
        )
