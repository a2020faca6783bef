"""Refuses what the target cannot take now: nobody there to answer, or a full inbox."""

from __future__ import annotations

from typing import Protocol

from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.priority import lane_of


class Inboxes(Protocol):
    """Who runs, and how much is delivered but not settled."""

    def is_running(self, agent_id: str, now: int) -> bool:
        """Whether an instance of the agent has a fresh heartbeat."""

    def take_place(self, agent_id: str, lane: str) -> bool:
        """Count one more for an agent's lane, unless the bound is reached."""


class CheckInbox:
    """Back-pressure instead of loss. Replies go to a waiting caller, not to an inbox."""

    name = "inbox"

    def __init__(self, inboxes: Inboxes) -> None:
        self._inboxes = inboxes

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Not found, backpressure, or nothing."""
        if transit.is_reply:
            return None
        target = transit.envelope.target
        if transit.expects_reply and not self._inboxes.is_running(target, batch.now):
            return Verdict(
                Decision.NOT_FOUND,
                f"no instance of {target} is running that could answer",
                "no_responder",
                hint=("mas status", f"mas agent describe {target}"),
            )
        if self._inboxes.take_place(target, lane_of(transit.envelope.priority)):
            return None
        return Verdict(
            Decision.BACKPRESSURE,
            f"the inbox of {target} is full",
            retry_after=1.0,
            hint=(f"mas agent describe {target}",),
        )
