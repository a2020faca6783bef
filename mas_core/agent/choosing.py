"""Puts the agents that may get a message into an order, the best one first."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence

import msgspec

from mas_core.model.routing import Candidate, RoutingRule, Way
from mas_core.security.fingerprints import at_pointer


class Memory(msgspec.Struct):
    """What a sender remembers of its choices."""

    given: dict[str, int] = {}
    """Agent -> messages that it got since its load was last told."""
    last: dict[str, int] = {}
    """Agent -> number of the last choice that it was."""
    choices: int = 0

    def note(self, agent: str) -> None:
        """Remember that an agent was chosen."""
        self.choices += 1
        self.last[agent] = self.choices
        self.given[agent] = self.given.get(agent, 0) + 1


def in_order(
    rule: RoutingRule, agents: Sequence[Candidate], memory: Memory, key: str, chance: random.Random
) -> list[Way]:
    """The agents as the rule's strategy prefers them, those that end to the last.

    Args:
        rule: Says how.
        agents: Those that may get it.
        memory: Of the choices before; it is not changed.
        key: What sticks to one agent.
        chance: Decides where shares are weighted.
    """

    def load(agent: Candidate) -> float:
        return (agent.load + memory.given.get(agent.id, 0)) / max(1, agent.instances)

    def burden(agent: Candidate) -> tuple[float, int, str]:
        return load(agent), memory.last.get(agent.id, 0), agent.id

    def told(agent: Candidate) -> str:
        return f"{load(agent):g} in hand for each instance"

    if rule.strategy == "round_robin":
        ordered = sorted(agents, key=lambda agent: (memory.last.get(agent.id, 0), agent.id))
        ways = [
            (agent, "its turn comes next" if at == 0 else "its turn comes later")
            for at, agent in enumerate(ordered)
        ]
    elif rule.strategy == "weighted":
        shares = {agent.id: rule.weights.get(agent.id, 1) for agent in agents}
        drawn = {name: _draw(share, chance) for name, share in shares.items()}
        ordered = sorted(
            (agent for agent in agents if shares[agent.id] > 0), key=lambda agent: -drawn[agent.id]
        )
        whole = sum(shares.values())
        ways = [(agent, f"drawn, with {shares[agent.id]} of {whole} shares") for agent in ordered]
    elif rule.strategy == "best_match":
        matches = {agent.id: len(set(rule.wanted) & set(agent.capabilities)) for agent in agents}
        ordered = sorted(agents, key=lambda agent: (-matches[agent.id], burden(agent)))
        ways = [
            (agent, f"{matches[agent.id]} of {len(rule.wanted)} capabilities, {told(agent)}")
            for agent in ordered
        ]
    elif rule.strategy == "sticky":
        ordered = sorted(agents, key=lambda agent: _affinity(key, agent.id), reverse=True)
        ways = [
            (agent, "the key is its own" if at == 0 else "next for this key")
            for at, agent in enumerate(ordered)
        ]
    else:
        ways = [(agent, told(agent)) for agent in sorted(agents, key=burden)]
    return [
        Way(agent.id, why if agent.active else f"{why}; it takes nothing new")
        for agent, why in sorted(ways, key=lambda way: not way[0].active)
    ]


def sticky_key(rule: RoutingRule, sender: str, payload: Mapping[str, object]) -> str:
    """What sticks to one agent: what the rule points to, or the sender where it points to nothing."""
    if not rule.key:
        return sender
    value = at_pointer(payload, rule.key)
    return sender if value is None else msgspec.json.encode(value, order="sorted").decode()


def _affinity(key: str, agent: str) -> bytes:
    """Rendezvous hashing: of all agents the one with the highest value has the key, so few move with a change."""
    return hashlib.blake2b(f"{key}\0{agent}".encode(), digest_size=8).digest()


def _draw(share: int, chance: random.Random) -> float:
    """A draw without replacement (Efraimidis and Spirakis): the highest first has each first by its share."""
    return chance.random() ** (1 / share) if share > 0 else -1.0
