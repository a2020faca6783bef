"""Refuses what goes beyond the sender's rate limit."""

from __future__ import annotations

from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision


class LimitRate:
    """Places are reserved once for a whole batch. Replies are bounded by the requests they answer."""

    name = "rate"

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Rate limited, or nothing."""
        if transit.is_within_limit:
            return None
        retry_after, window = batch.limit_retry.get(transit.sender, (0.0, "minute"))
        return Verdict(
            Decision.RATE_LIMITED,
            f"Rate limit exceeded: {transit.sender} has used its messages of this {window}",
            retry_after=retry_after,
        )
