"""Who may claim which capabilities: others find agents by what they claim, so claiming is a right."""

from __future__ import annotations

from collections.abc import Iterable

from mas_core.model.policy import ANYONE, PolicyDocument
from mas_core.security.type_glob import compile_glob


class Claims:
    """The capabilities that a policy binds. One that no pattern names may be claimed by anybody."""

    def __init__(self, document: PolicyDocument) -> None:
        self._bound = [
            (compile_glob(glob), _members(document, parties))
            for glob, parties in document.capabilities.items()
        ]

    def refused(self, agent_id: str, capabilities: Iterable[str]) -> str:
        """The first of these that the agent may not claim; empty when it may claim all."""
        if not self._bound:
            return ""
        return next((name for name in capabilities if not self._may_claim(agent_id, name)), "")

    def _may_claim(self, agent_id: str, capability: str) -> bool:
        """Whether one of the patterns that match gives it to the agent, or none matches."""
        matching = [members for matches, members in self._bound if matches(capability)]
        return not matching or any(agent_id in members or ANYONE in members for members in matching)


def _members(document: PolicyDocument, parties: tuple[str, ...]) -> frozenset[str]:
    return frozenset(
        member
        for party in parties
        for member in (document.roles.get(party[5:], ()) if party.startswith("role:") else (party,))
    )
