"""What an owner knows of the agents of its partition: who runs, and how full their inboxes are."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from mas_core.model.priority import LANES
from mas_core.model.registration import InstanceStatus
from mas_core.registry.registry import REGISTRATION_EXPIRY_MS, AgentEntry

UNDER_WAY = 8
"""Batches whose deliveries may not be in the store yet when it is asked; more than there can be at once."""


class Inboxes:
    """Presence and backlog of the partition's agents.

    The count of unsettled messages is an upper bound: agents settle without telling the owner. Where the bound
    is reached the true number is asked for before the next batch.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._instances: dict[str, dict[str, InstanceStatus]] = {}
        self._unsettled: dict[str, dict[str, int]] = {}
        self.doubtful: set[str] = set()
        """Agents whose true backlog should be asked for."""
        self.committed_batches = 0
        """Batches that are in the store since the last restart."""
        self._judged_batches = 0
        self._under_way: deque[Counter[tuple[str, str]]] = deque([Counter()], maxlen=UNDER_WAY)

    def restart(self, entries: Iterable[AgentEntry]) -> None:
        """Start over from what the store says."""
        self._instances = {
            entry.agent_id: {status.instance: status for status in entry.instances} for entry in entries
        }
        self._unsettled.clear()
        self.doubtful.clear()
        self.committed_batches = self._judged_batches = 0
        self._under_way.clear()
        self._under_way.append(Counter())

    def instances(self, agent_id: str) -> dict[str, InstanceStatus]:
        """Instance -> what it last said; a dict that may be changed."""
        return self._instances.setdefault(agent_id, {})

    def capabilities(self, agent_id: str) -> set[str]:
        """What instances of the agent have said that they can do, those included that ended lately."""
        return {name for status in self._instances.get(agent_id, {}).values() for name in status.capabilities}

    def is_running(self, agent_id: str, now: int) -> bool:
        """Whether an instance of the agent has a fresh heartbeat."""
        return any(
            status.seen + REGISTRATION_EXPIRY_MS > now
            for status in self._instances.get(agent_id, {}).values()
        )

    def running(self, now: int) -> Iterator[tuple[str, InstanceStatus]]:
        """Agent and status of every instance with a fresh heartbeat."""
        for agent_id, instances in self._instances.items():
            for status in instances.values():
                if status.seen + REGISTRATION_EXPIRY_MS > now:
                    yield agent_id, status

    def is_counted(self, agent_id: str) -> bool:
        """Whether the backlog of the agent is known."""
        return agent_id in self._unsettled and agent_id not in self.doubtful

    def end_batch(self) -> None:
        """A batch is judged; the places taken from here on belong to the next."""
        self._judged_batches += 1
        self._under_way.append(Counter())

    def set_backlog(self, agent_id: str, unsettled: dict[str, int], asked_after: int) -> None:
        """Take over the true backlog, which was asked for when `asked_after` batches were in the store."""
        unseen = list(self._under_way)[-1 - (self._judged_batches - asked_after) :]
        self._unsettled[agent_id] = {
            lane: count + sum(places[agent_id, lane] for places in unseen)
            for lane, count in unsettled.items()
        }
        self.doubtful.discard(agent_id)

    def has_place(self, agent_id: str, lane: str) -> bool:
        """Whether one more fits into an agent's lane."""
        return self._unsettled.get(agent_id, {}).get(lane, 0) < self._bound

    def take_places(self, agent_id: str, lane: str, count: int) -> bool:
        """Count so many more for an agent's lane, unless the bound is in the way; then none."""
        counts = self._unsettled.setdefault(agent_id, dict.fromkeys(LANES, 0))
        if counts[lane] + count > self._bound:
            self.doubtful.add(agent_id)
            return False
        counts[lane] += count
        self._under_way[-1][agent_id, lane] += count
        if counts[lane] >= self._bound:
            self.doubtful.add(agent_id)
        return True
