"""Which limits count for whom: a policy document's limits and ceilings, worked out once for each agent.

An agent has its own limit, else the highest of its roles, else the default. Totals come on top: what the members
of a role may send together, and what everybody may send together to agents with a capability.
"""

from __future__ import annotations

from mas_core.model.policy import ANYONE, PolicyDocument, RateLimit

ROLE = "role:"
CAPABILITY = "capability:"
HIGHEST_PRIORITY = 10


class RateLimits:
    """Answers from one policy document, which never changes; a new document gets a new object."""

    def __init__(self, document: PolicyDocument) -> None:
        self._default = document.default_limit
        self._own: dict[str, RateLimit] = {}
        self._ceilings: dict[str, int] = {}
        self._default_ceiling = document.ceilings.get(ANYONE, HIGHEST_PRIORITY)
        self._role_totals: dict[str, tuple[str, ...]] = {}
        for role, members in document.roles.items():
            name = f"{ROLE}{role}"
            limit, ceiling = document.limits.get(name), document.ceilings.get(name)
            for agent_id in dict.fromkeys(members):
                if limit is not None:
                    self._own[agent_id] = max(limit, self._own.get(agent_id, limit), key=_height)
                if ceiling is not None:
                    self._ceilings[agent_id] = max(ceiling, self._ceilings.get(agent_id, ceiling))
                if name in document.totals:
                    self._role_totals[agent_id] = (*self._role_totals.get(agent_id, ()), name)
        self._own |= {name: limit for name, limit in document.limits.items() if not name.startswith(ROLE)}
        self._ceilings |= {
            name: most for name, most in document.ceilings.items() if not name.startswith(ROLE)
        }
        self.totals = document.totals
        """What is limited for several agents together, by `role:NAME` or `capability:NAME`."""
        self.capability_totals = {
            name.removeprefix(CAPABILITY): name for name in document.totals if name.startswith(CAPABILITY)
        }
        """Capability -> name of its total."""
        self.has_ceilings = bool(document.ceilings)

    def of(self, agent_id: str) -> RateLimit:
        """The limit of an agent."""
        return self._own.get(agent_id, self._default)

    def role_totals(self, agent_id: str) -> tuple[str, ...]:
        """The totals that an agent shares with other members of its roles."""
        return self._role_totals.get(agent_id, ())

    def ceiling(self, agent_id: str) -> int:
        """The highest priority that messages of an agent keep."""
        return self._ceilings.get(agent_id, self._default_ceiling)


def _height(limit: RateLimit) -> tuple[int, int, float]:
    return limit.per_minute, limit.per_hour, limit.burst or float("inf")
