"""Refuses what the target cannot take now: nobody there to answer, or a full inbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.priority import lane_of

NO_RESPONDER = "no_responder"
"""Names the reason in a receipt, where rules are named otherwise."""


class Inboxes(Protocol):
    """Who runs, and how much is delivered but not settled."""

    def is_running(self, agent_id: str, now: int) -> bool:
        """Whether an instance of the agent has a fresh heartbeat."""

    def has_place(self, agent_id: str, lane: str) -> bool:
        """Whether one more would fit."""

    def take_places(self, agent_id: str, lane: str, count: int) -> bool:
        """Count so many more for an agent's lane, unless the bound is in the way; then none."""


class CheckInbox:
    """Back-pressure instead of loss. Replies go to a waiting caller, not to an inbox."""

    name = "inbox"

    def __init__(self, inboxes: Inboxes) -> None:
        self._inboxes = inboxes

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that their targets can take; places are taken at once for all that go the same way."""
        counts: dict[tuple[str, int], int] = {}
        for transit in transits:
            if transit.is_reply or transit.expects_reply:
                return one_by_one(self, transits, batch)
            if transit.is_for_resource:
                continue
            way = (transit.envelope.target, transit.envelope.priority)
            counts[way] = counts.get(way, 0) + 1
        full = {
            (target, priority)
            for (target, priority), count in counts.items()
            if not self._inboxes.take_places(target, lane_of(priority), count)
        }
        if not full:
            return transits
        going = []
        for transit in transits:
            is_full = (transit.envelope.target, transit.envelope.priority) in full
            if is_full and (verdict := self.check(transit, batch)) is not None:
                transit.end(verdict)
            else:
                going.append(transit)
        return going

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Not found, backpressure, or nothing."""
        verdict = self._check(transit, batch, lambda target, lane: self._inboxes.take_places(target, lane, 1))
        if verdict is not None:
            batch.turned_back.append(transit)
        return verdict

    def rehearse(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """What `check` would say, and no place is taken."""
        return self._check(transit, batch, self._inboxes.has_place)

    def _check(
        self, transit: Transit, batch: Surroundings, fits: Callable[[str, str], bool]
    ) -> Verdict | None:
        if transit.is_reply or transit.is_for_resource:
            return None
        target = transit.envelope.target
        if transit.expects_reply and not self._inboxes.is_running(target, batch.now):
            return Verdict(
                Decision.NOT_FOUND,
                f"no instance of {target} is running that could answer",
                NO_RESPONDER,
                hint=("mas status", f"mas agent describe {target}"),
            )
        if fits(target, lane_of(transit.envelope.priority)):
            return None
        return Verdict(
            Decision.BACKPRESSURE,
            f"the inbox of {target} is full",
            retry_after=1.0,
            hint=(f"mas agent describe {target}",),
        )
