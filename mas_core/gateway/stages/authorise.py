"""Decides who may send what to whom; without a rule the answer is no."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.base.resources import action_of
from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.security.access import AccessPolicy


class Authorise:
    """Access rules. A reply needs none: its permit was made when the request was authorised.

    Args:
        access: The rules.
        intersects: Whether what is sent on behalf of others passes only if each of them could send it itself.
    """

    name = "access"

    def __init__(self, access: AccessPolicy, *, intersects: bool = False) -> None:
        self._access = access
        self._intersects = intersects

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that a rule allows; the rules are asked once for all messages that are alike."""
        rules: dict[tuple[str, str, str, bool, tuple[str, ...]], tuple[str, str]] = {}
        going = []
        for transit in transits:
            if transit.is_reply:
                going.append(transit)
                continue
            envelope = transit.envelope
            alike = (transit.sender, envelope.target, envelope.type, transit.expects_reply, transit.behalf)
            known = rules.get(alike)
            if known is not None:
                transit.rule, transit.hold_rule = known
                going.append(transit)
            elif (verdict := self.check(transit, batch)) is None:
                rules[alike] = (transit.rule, transit.hold_rule)
                going.append(transit)
            else:
                transit.end(verdict)
        return going

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Denied, or the rule that lets it go in `transit.rule`, and in `transit.hold_rule` if that holds it."""
        if transit.is_reply:
            return None
        envelope = transit.envelope
        action = action_of(envelope.target, envelope.type, expects_reply=transit.expects_reply)
        for name in (*transit.behalf, transit.sender) if self._intersects else (transit.sender,):
            found = self._access.decide(name, envelope.target, envelope.type, action, batch.now)
            if not (found.allowed or found.held):
                who = "" if name == transit.sender else f"{transit.sender} sends it on behalf of {name}, and "
                explain = f"mas rbac explain {name} {envelope.target} {envelope.type}"
                return Verdict(
                    Decision.DENIED,
                    f"Authorization denied: {who}{found.reason}",
                    found.rule_id,
                    hint=(explain, *found.fix),
                )
            transit.rule = found.rule_id
            if found.held:
                transit.hold_rule = found.rule_id
        return None
