"""Refuses what goes beyond what the members of a role, or all senders to a capability, may send together."""

from __future__ import annotations

from typing import Protocol

from mas_core.gateway.places import limit_verdict
from mas_core.gateway.transit import Surroundings, Transit, Verdict


class TotalNames(Protocol):
    """Knows which totals a message counts in."""

    def names(self, sender: str, target: str) -> tuple[str, ...]:
        """The totals of a message."""


class LimitTotals:
    """Takes the place in each total, or in none when one of them is full."""

    name = "totals"

    def __init__(self, totals: TotalNames) -> None:
        self._totals = totals

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Rate limited, or nothing."""
        if transit.is_reply:
            return None
        names = self._totals.names(transit.sender, transit.envelope.target)
        original = (transit.details or {}).get("original_target")
        if isinstance(original, str):
            # It goes to the backup of its target, and has taken its places on the way to that one.
            taken = self._totals.names(transit.sender, original)
            names = tuple(name for name in names if name not in taken)
        for name in names:
            if batch.places.get(name, 0) <= 0:
                return limit_verdict(name, transit.sender, batch)
        for name in names:
            batch.places[name] -= 1
        return None
