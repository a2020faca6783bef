"""Refuses what a former leader sends in the name of a term that is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.message import FENCE_HEADER

STALE_TERM = "stale_term"
"""Names the reason in a receipt, where rules are named otherwise."""


class Terms(Protocol):
    """The highest term of each group that has come to each target."""

    def read(self, text: str, agent_id: str) -> tuple[str, int] | None:
        """Group and term of a fence that a gateway gave to this agent; None when none did."""

    def highest(self, target: str, group: str) -> int:
        """The highest term; 0 when none has come."""

    def raise_to(self, target: str, group: str, term: int) -> bool:
        """Remember a higher one; False when there is no room to."""


class CheckFence:
    """A message that names a term passes unless a later term of the same group has come to its target before."""

    name = "fence"

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that no later leader has overtaken."""
        if not any(transit.envelope.headers for transit in transits):
            return transits
        return one_by_one(self, transits, batch)

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Denied, or nothing and the term is remembered."""
        return self._check(transit, is_in_earnest=True)

    def rehearse(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """What `check` would say, and nothing is remembered."""
        return self._check(transit, is_in_earnest=False)

    def _check(self, transit: Transit, *, is_in_earnest: bool) -> Verdict | None:
        text = (transit.envelope.headers or {}).get(FENCE_HEADER)
        if text is None:
            return None
        fence = self._terms.read(text, transit.sender)
        if fence is None:
            reason = f"Authorization denied: the fence was not given to {transit.sender} by a gateway"
            return Verdict(Decision.DENIED, reason, "fence_invalid")
        group, term = fence
        target = transit.envelope.target
        highest = self._terms.highest(target, group)
        if term < highest:
            reason = (
                f"Authorization denied: term {term} of {group} is over, {target} has heard of term {highest}"
            )
            return Verdict(Decision.DENIED, reason, STALE_TERM, hint=(f"mas leader status {group}",))
        if is_in_earnest and term > highest and not self._terms.raise_to(target, group, term):
            return Verdict(
                Decision.BACKPRESSURE, "too many groups and targets have fences", "too_many_fences"
            )
        return None
