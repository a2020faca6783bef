"""Notes where a policy on trial would decide otherwise about access; it never changes a decision."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.base.resources import action_of
from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.security.access import AccessPolicy


class CompareShadow:
    """Asks the policy in force and the one beside it; replies need no rule under either.

    It stands before the access rules, so that it sees also what they refuse.
    """

    name = "shadow"

    def __init__(self, access: AccessPolicy, shadow: AccessPolicy) -> None:
        self._access = access
        self._shadow = shadow

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """All of them."""
        for transit in transits:
            self.check(transit, batch)
        return transits

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Nothing; the difference, if there is one, is in `transit.details`."""
        if transit.is_reply:
            return None
        envelope = transit.envelope
        action = action_of(envelope.target, envelope.type, expects_reply=transit.expects_reply)
        question = (transit.sender, envelope.target, envelope.type, action, batch.now)
        present, tried = self._access.decide(*question), self._shadow.decide(*question)
        if present.outcome != tried.outcome:
            note = {"decision": tried.outcome, "instead_of": present.outcome, "rule": tried.rule_id}
            transit.details = {**(transit.details or {}), "shadow": note}
        return None
