"""Holds messages for a person, once every check before has let them pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision


class WaitingRoom(Protocol):
    """Where messages wait for a person."""

    def has_room(self, count: int) -> bool:
        """Whether so many more may wait."""


class HoldForApproval:
    """What the access rules hold is not delivered before somebody approves it."""

    name = "approval"

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that no rule holds."""
        going = [transit for transit in transits if not transit.hold_rule]
        if len(going) < len(transits):
            for transit in transits:
                if transit.hold_rule and (verdict := self.check(transit, batch)) is not None:
                    transit.end(verdict)
        return going

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Held, backpressure when too many wait already, or nothing."""
        before = transit.decision
        verdict = self.rehearse(transit, batch)
        if verdict is not None and verdict.decision is Decision.HELD:
            batch.held.append((transit, before))
        return verdict

    def rehearse(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """What `check` would say, and nothing is kept."""
        rule = transit.hold_rule
        if not rule:
            return None
        if not self._room.has_room(len(batch.held) + 1):
            return Verdict(
                Decision.BACKPRESSURE,
                "too many messages wait for approval already",
                rule,
                retry_after=60.0,
                hint=("mas approval list",),
            )
        return Verdict(Decision.HELD, f"rule {rule} holds it until somebody approves it", rule)
