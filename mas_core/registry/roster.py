"""All registered agents and their instances as one gateway knows them.

Each partition has a log of the agents whose registration or instances changed. What the log names is read
again; only when the log no longer reaches back to what was read last is the partition read as a whole. So a
change costs the same however many agents there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from mas_core.base.ids import partition_of
from mas_core.model.registration import Registration
from mas_core.registry.registry import AgentEntry, Registry
from mas_core.registry.signed import Macs
from mas_core.store.records import Records


class Roster:
    """A copy of the registry that is kept up to date; partitions of one gateway share it.

    Args:
        records: The store's records.
        macs: What registrations are authenticated with.
        partitions: How many agents are spread over.
        width: How many there ever were; as many when left out.

    `registrations` maps ids to registrations. It is changed in place, so what holds it sees every refresh.
    """

    def __init__(self, records: Records, macs: Macs, partitions: int, width: int = 0) -> None:
        self._records = records
        self._registry = Registry(records, macs)
        self._partitions = partitions
        self._read_to: list[str] = [""] * max(width, partitions)
        self._attached: list[dict[str, AgentEntry]] = [{} for _ in range(max(width, partitions))]
        self._capable: dict[str, dict[str, AgentEntry]] = {}
        self._refreshing = asyncio.Lock()
        self.registrations: dict[str, Registration] = {}

    @property
    def forged(self) -> set[str]:
        """Ids whose records were ignored because their MAC was wrong."""
        return self._registry.forged

    async def refresh(self) -> None:
        """Take over everything that was written until now.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        async with self._refreshing:
            logs = await self._records.changed_agents(self._read_to)
            changed: set[str] = set()
            for partition, log in enumerate(logs):
                if log.is_whole:
                    changed.update(log.agent_ids)
                else:
                    changed.update(await self._all_of(partition))
            names = sorted(changed)
            entries = {entry.agent_id: entry for entry in await self._registry.entries(names)}
            for name in names:
                self._replace(name, entries.get(name))
            # Only now: when reading fails half-way, the same is read once more.
            self._read_to = [log.read_to for log in logs]

    def attached(self, partition: int) -> Iterable[AgentEntry]:
        """Agents of a partition that have instances, running or not."""
        return self._attached[partition].values()

    def candidates(self, capabilities: Sequence[str], *, match_all: bool) -> list[AgentEntry]:
        """Agents with instances that may have these capabilities, by id; all when none are named.

        Which of the instances still run, and so what an agent can do now, is for the caller to see.
        """
        if not capabilities:
            found = {name: entry for part in self._attached for name, entry in part.items()}
        else:
            groups = [self._capable.get(name, {}) for name in capabilities]
            found = {}
            for group in sorted(groups, key=len)[:1] if match_all else groups:
                found |= group
        return [found[name] for name in sorted(found)]

    async def _all_of(self, partition: int) -> set[str]:
        known = {name for name in self.registrations if partition_of(name, self._partitions) == partition}
        return known | set(await self._records.agent_ids(partition))

    def _replace(self, agent_id: str, entry: AgentEntry | None) -> None:
        attached = self._attached[partition_of(agent_id, self._partitions)]
        before = attached.pop(agent_id, None)
        for name in _capabilities(before):
            group = self._capable.get(name, {})
            group.pop(agent_id, None)
            if not group:
                self._capable.pop(name, None)
        if entry is None:
            self.registrations.pop(agent_id, None)
            return
        self.registrations[agent_id] = entry.registration
        if entry.instances:
            attached[agent_id] = entry
            for name in _capabilities(entry):
                self._capable.setdefault(name, {})[agent_id] = entry


def _capabilities(entry: AgentEntry | None) -> set[str]:
    return {name for item in entry.instances for name in item.capabilities} if entry else set()
