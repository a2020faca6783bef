"""Refuses everything from and to agents that are blocked, replies included."""

from __future__ import annotations

from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.security.access import BLOCK, AccessPolicy


class CheckBlocked:
    """Blocks win over everything, so they are asked also where the access rules are switched off."""

    name = "block"

    def __init__(self, access: AccessPolicy) -> None:
        self._access = access

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Denied, or nothing."""
        sender, target = transit.sender, transit.envelope.target
        rule = self._access.block_between(sender, target, batch.now)
        if rule is None:
            return None
        who = rule.id.removeprefix(BLOCK)
        because = f" ({rule.reason})" if rule.reason else ""
        return Verdict(
            Decision.DENIED,
            f"Authorization denied: {who} is blocked{because}",
            rule.id,
            hint=(f"mas rbac explain {sender} {target}", f"mas agent unblock {who}"),
        )
