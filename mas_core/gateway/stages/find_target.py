"""Refuses messages to agents that do not exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mas_core.base.resources import is_resource
from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.message import Flag


class Registered(Protocol):
    """Knows which agents exist."""

    def is_registered(self, agent_id: str) -> bool:
        """Whether there is such an agent."""

    def has_key(self, agent_id: str) -> bool:
        """Whether it is registered with a key that is not revoked."""


class FindTarget:
    """The target must be registered, or be a resource; whether it runs matters only to requests, later."""

    name = "target"

    def __init__(self, agents: Registered) -> None:
        self._agents = agents

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those whose target exists."""
        targets = {transit.envelope.target for transit in transits}
        if all(map(self._agents.has_key, targets)):
            return transits
        return one_by_one(self, transits, batch)

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Not found, or nothing."""
        target = transit.envelope.target
        if is_resource(target):
            return self._check_resource(transit)
        if self._agents.has_key(target):
            return None
        if self._agents.is_registered(target):
            reason = f"Agent not found: every token of {target} was revoked, so nobody could open the message"
            return Verdict(Decision.NOT_FOUND, reason, hint=(f"mas agent token rotate {target}",))
        return Verdict(Decision.NOT_FOUND, f"Agent not found: {target}", hint=("mas agent list",))

    @staticmethod
    def _check_resource(transit: Transit) -> Verdict | None:
        transit.is_for_resource = True
        if transit.is_reply:
            return Verdict(Decision.INVALID, "a resource asks nothing, so nobody can reply to it")
        if transit.envelope.flags & Flag.SCHEDULED:
            return Verdict(Decision.INVALID, "a message to a resource cannot be sent for later")
        return None
