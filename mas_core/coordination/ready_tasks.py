"""Tasks that could be begun, filed so that the right one for a worker is found without looking at all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from mas_core.coordination.task import Task

_Requirement = tuple[str, str, frozenset[str], tuple[str, ...]]
"""Its type, the only agent who may take it, what it has to have, and who may not as it is done for them."""


class ReadyTasks:
    """Tasks of one queue: the most urgent first, of those the oldest."""

    def __init__(self) -> None:
        self._filed: dict[int, dict[_Requirement, OrderedDict[str, tuple[int, str]]]] = {}

    def add(self, task: Task) -> None:
        """It can be begun."""
        kinds = self._filed.setdefault(task.priority, {})
        tasks = kinds.setdefault(_requirement(task), OrderedDict())
        tasks[task.id] = (task.created, task.id)
        if len(tasks) > 1 and task.attempt:
            # One that comes again keeps its place.
            kinds[_requirement(task)] = OrderedDict(sorted(tasks.items(), key=lambda item: item[1]))

    def remove(self, task: Task) -> None:
        """It cannot be begun any more."""
        kinds = self._filed.get(task.priority, {})
        tasks = kinds.get(_requirement(task))
        if tasks is None or tasks.pop(task.id, None) is None:
            return
        if not tasks:
            del kinds[_requirement(task)]
        if not kinds:
            del self._filed[task.priority]

    def best(self, agent: str, capabilities: Collection[str], types: Collection[str]) -> str:
        """The task that an agent should take next; empty when there is none.

        Args:
            agent: Who takes it.
            capabilities: What it has.
            types: What it takes; anything where this is empty.
        """
        has = frozenset(capabilities)
        for priority in sorted(self._filed, reverse=True):
            oldest = min(
                (
                    next(iter(tasks.values()))
                    for (kind, only, needed, chain), tasks in self._filed[priority].items()
                    if only in ("", agent)
                    and needed <= has
                    and agent not in chain
                    and (not types or kind in types)
                ),
                default=None,
            )
            if oldest is not None:
                return oldest[1]
        return ""


def _requirement(task: Task) -> _Requirement:
    return (task.type, task.agent, frozenset(task.capabilities), task.on_behalf_of)
