"""Who may read which topic, by the policy in force."""

from __future__ import annotations

from mas_core.base.resources import kind_of, name_of
from mas_core.gateway.directory import Directory
from mas_core.model.policy import ANYONE
from mas_core.model.standing import ISOLATING
from mas_core.model.topic import SUBSCRIBE, TOPIC, TopicRecord
from mas_core.security.access import AccessDecision

ACTION = "subscribe"


class TopicReaders:
    """Answers from the directory; a key of a topic is held by keys of agents, since tokens can be revoked."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def may_read(self, agent: str, topic: str, now: int) -> bool:
        """Whether an agent may read a topic now."""
        standing = self._directory.policy.standings.get(agent)
        if standing is not None and standing.kind in ISOLATING:
            return False
        return self._decide(agent, topic, now).allowed

    def holders(self, agent: str, now: int) -> list[str]:
        """Under which names an agent holds what it is given: one for each of its keys."""
        return [f"{agent}/{key.key_id}" for key in self._directory.valid_keys(agent, now)]

    def lost(self, record: TopicRecord, now: int) -> list[str]:
        """Holders of the newest key of a topic who may not have it any more."""
        allowed: dict[str, bool] = {}
        found = []
        for holder in record.readers:
            agent, _, key_id = holder.partition("/")
            may_read = allowed.get(agent)
            if may_read is None:
                may_read = allowed[agent] = self.may_read(agent, record.name, now)
            key = self._directory.key(agent, key_id)
            if not may_read or key is None or not key.is_valid(now):
                found.append(holder)
        return found

    def refusal(self, agent: str, pattern: str, now: int) -> list[str] | None:
        """Why an agent may read nothing that matches a pattern, and what would change that; None when it may."""
        access = self._directory.access
        if "*" not in pattern and ">" not in pattern:
            found = self._decide(agent, pattern, now)
            if found.allowed:
                return None
            missing = f"no rule allows {agent} to subscribe to {TOPIC}:{pattern}"
            return [f"Authorization denied: {found.reason if found.rule_id else missing}", *found.fix]
        if access.is_open:
            return None
        names = access.names_of(agent)
        for rule in self._directory.policy.rules:
            if (
                rule.effect == "allow"
                and rule.sender in names
                and rule.action in (ACTION, ANYONE)
                and (not rule.expires or now < rule.expires)
                and kind_of(rule.target) == TOPIC
                and patterns_meet(name_of(rule.target), pattern)
            ):
                return None
        return [
            f"Authorization denied: no rule allows {agent} to subscribe to any topic like {pattern}",
            f"mas rbac allow {agent} '{TOPIC}:{pattern}' --action {ACTION}",
        ]

    def _decide(self, agent: str, topic: str, now: int) -> AccessDecision:
        return self._directory.access.decide(agent, f"{TOPIC}:{topic}", SUBSCRIBE, ACTION, now)


def patterns_meet(one: str, other: str) -> bool:
    """Whether some name matches both patterns."""
    return _meet(one.split("."), other.split("."))


def _meet(one: list[str], other: list[str]) -> bool:
    if not one or not other:
        return not one and not other
    if one[0] == ">" or other[0] == ">":
        # It stands for at least one word, and the other has at least one left.
        return True
    return (one[0] == other[0] or "*" in (one[0], other[0])) and _meet(one[1:], other[1:])
