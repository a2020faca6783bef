"""Lowers the priority of messages whose sender may not send such urgent ones."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.security.rate_limits import RateLimits


class CapPriority:
    """The message goes on with the highest priority that its sender may use, and says so."""

    name = "priority"

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """All of them; those that are too urgent are less so afterwards."""
        for transit in transits:
            if transit.envelope.priority > self._limits.ceiling(transit.sender):
                self.check(transit, batch)
        return transits

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Nothing; the priority of the envelope may be lower afterwards."""
        envelope = transit.envelope
        ceiling = self._limits.ceiling(transit.sender)
        if envelope.priority > ceiling and not transit.is_reply:
            lowered = (
                f"the priority {envelope.priority} was lowered to {ceiling}, the highest of {transit.sender}"
            )
            transit.reason = f"{transit.reason}; {lowered}" if transit.reason else lowered
            envelope.priority = ceiling
        return None
