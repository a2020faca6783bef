"""Bounds what agents may ask of the gateway itself: discover, attach, heartbeats, messages handed back."""

from __future__ import annotations

WINDOW_MS = 60_000
KEPT_SHARE = 0.25
"""Share of the budget that only vital messages may use."""


class ControlBudget:
    """A bucket for each agent that holds a minute's worth and fills evenly.

    Control messages of an agent all go to the one owner of its partition, so the count lies in that owner's
    memory: it costs nothing, and starts anew where another owner takes over.

    Args:
        per_minute: Messages that an agent may send in the long run; in any one minute at most twice as many.
    """

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._rooms: dict[str, tuple[float, int]] = {}
        self._reported: dict[str, int] = {}

    def room(self, agent_id: str, now: int) -> float:
        """How many control messages the agent may send at `now` (Unix milliseconds)."""
        room, since = self._rooms.get(agent_id, (self._most, now))
        return min(self._most, room + max(0, now - since) * self._most / WINDOW_MS)

    def has_room(self, agent_id: str, now: int, *, is_vital: bool) -> bool:
        """Whether one more fits."""
        return self.room(agent_id, now) >= 1 + (0 if is_vital else self._most * KEPT_SHARE)

    def take(self, agent_id: str, now: int, *, is_vital: bool) -> bool:
        """Count one more, unless the budget is used up."""
        if not self.has_room(agent_id, now, is_vital=is_vital):
            return False
        self._rooms[agent_id] = (self.room(agent_id, now) - 1, now)
        return True

    def give_back(self, agent_id: str, now: int) -> None:
        """The message was of use and does not count."""
        self._rooms[agent_id] = (self.room(agent_id, now) + 1, now)

    def retry_after(self, agent_id: str, now: int, *, is_vital: bool) -> float:
        """Seconds until the agent may send one more."""
        needed = 1 + (0 if is_vital else self._most * KEPT_SHARE)
        return max(0.0, needed - self.room(agent_id, now)) * WINDOW_MS / 1000 / self._most

    def is_news(self, agent_id: str, now: int) -> bool:
        """Whether a refusal is to be recorded: the first in a minute, so that a flood does not fill the audit."""
        if now - self._reported.get(agent_id, -WINDOW_MS) < WINDOW_MS:
            return False
        self._reported[agent_id] = now
        return True
