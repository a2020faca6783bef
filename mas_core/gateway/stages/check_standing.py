"""Refuses what an operator has stopped: agents that are quarantined, evicted or draining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.standing import ISOLATING, Standing


class CheckStanding:
    """The operator's word, which no rule can overrule. A paused agent's messages go to its inbox and wait."""

    name = "standing"

    def __init__(self, standings: Mapping[str, Standing]) -> None:
        self._isolated = {name: item for name, item in standings.items() if item.kind in ISOLATING}
        self._draining = {name: item for name, item in standings.items() if item.kind == "draining"}
        self._stopped = self._isolated.keys() | self._draining.keys()

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that nobody has stopped: all, where none of them is from or to such an agent."""
        isolated_ids, stopped = self._isolated, self._stopped
        for transit in transits:
            if transit.sender in isolated_ids or transit.envelope.target in stopped:
                return one_by_one(self, transits, batch)
        return transits

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Quarantined, backpressure, or nothing."""
        sender, target = transit.sender, transit.envelope.target
        if self._isolated:
            if sender in self._isolated:
                return isolated(sender, self._isolated[sender])
            if target in self._isolated:
                return isolated(target, self._isolated[target])
        if target in self._draining and not transit.is_reply:
            return Verdict(
                Decision.BACKPRESSURE,
                f"{target} is draining and takes nothing new{_because(self._draining[target])}",
                "draining",
                hint=(f"mas agent describe {target}", f"mas agent resume {target}"),
            )
        return None


def isolated(agent_id: str, standing: Standing) -> Verdict:
    """The refusal of everything from and to an agent."""
    return Verdict(
        Decision.QUARANTINED,
        f"{agent_id} is {standing.kind}{_because(standing)}",
        standing.kind,
        hint=(f"mas agent describe {agent_id}", f"mas agent resume {agent_id}"),
    )


def _because(standing: Standing) -> str:
    return f": {standing.reason}" if standing.reason else ""
