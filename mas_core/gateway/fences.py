"""Fences: what proves that an agent leads a group in a term, so that what former leaders send can be refused.

A fence is `group:term:mac`. The MAC is under a key that only gateways have, and names the agent, so nobody can
make one up and nobody can use that of another agent.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping

from mas_core.base.ids import AGENT_ID
from mas_core.base.resources import RESOURCE
from mas_core.registry.signed import Macs
from mas_core.store.commits import Commit

MAX_FENCES = 100_000
"""Pairs of target and group of a partition whose terms are remembered."""
_PURPOSE = "fence"
_MAC_DIGITS = 32
_LONGEST_TERM = 18


def make_fence(macs: Macs, group: str, term: int, agent_id: str) -> str:
    """The fence of an agent that leads a group in a term."""
    return f"{group}:{term}:{_mac(macs, group, term, agent_id)}"


def read_fence(macs: Macs, text: str, agent_id: str) -> tuple[str, int] | None:
    """Group and term of a fence; None when no gateway gave it to this agent."""
    group, _, rest = text.partition(":")
    digits, _, mac = rest.partition(":")
    if not (
        RESOURCE.fullmatch(f"leader:{group}")
        and digits.isascii()
        and digits.isdigit()
        and len(digits) <= _LONGEST_TERM
        and AGENT_ID.fullmatch(agent_id)
    ):
        return None
    expected = _mac(macs, group, int(digits), agent_id)
    return (group, int(digits)) if hmac.compare_digest(expected.encode(), mac.encode()) else None


def _mac(macs: Macs, group: str, term: int, agent_id: str) -> str:
    return macs.mac(_PURPOSE, f"{group}\n{term}\n{agent_id}".encode()).hex()[:_MAC_DIGITS]


class Fences:
    """The highest term of each group that has come to each target of one partition.

    Args:
        macs: Under which fences are made.
        stored: What the store says, by the names that `set_fence` gives.
        effects: Gets what must be committed.
    """

    def __init__(
        self, macs: Macs, stored: Mapping[str, int], effects: list[Callable[[Commit], None]]
    ) -> None:
        self._macs = macs
        self._highest = dict(stored)
        self._effects = effects

    def read(self, text: str, agent_id: str) -> tuple[str, int] | None:
        """Group and term of a fence that a gateway gave to this agent; None when none did."""
        return read_fence(self._macs, text, agent_id)

    def highest(self, target: str, group: str) -> int:
        """The highest term; 0 when none has come."""
        return self._highest.get(_name(target, group), 0)

    def raise_to(self, target: str, group: str, term: int) -> bool:
        """Remember a higher one; False when there is no room to."""
        name = _name(target, group)
        if name not in self._highest and len(self._highest) >= MAX_FENCES:
            return False
        self._highest[name] = term
        self._effects.append(lambda commit: commit.set_fence(name, term))
        return True


def _name(target: str, group: str) -> str:
    return f"{target}/{group}"
