"""Refuses what goes beyond the sender's rate limit."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.gateway.places import limit_verdict
from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one


class LimitRate:
    """Places are reserved once for a whole batch. Replies are bounded by the requests they answer."""

    name = "rate"

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those for which a place was reserved."""
        for transit in transits:
            if not transit.is_within_limit:
                return one_by_one(self, transits, batch)
        return transits

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Rate limited, or nothing."""
        if transit.is_within_limit:
            return None
        return limit_verdict(transit.sender, transit.sender, batch)
