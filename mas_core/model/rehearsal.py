"""What the stages would say about a message that is not sent."""

from __future__ import annotations

from typing import Literal

import msgspec

from mas_core.model.decision import Decision, Finding

Reach = Literal["reached", "not_reached"]


class StageVerdict(msgspec.Struct, frozen=True):
    """What one stage says."""

    stage: str
    decision: str
    """A decision, or `unknown` where the stage was not asked."""
    reason: str = ""
    rule: str = ""
    is_reached: bool = True
    """False behind a refusal: this is what the stage would say if the message came that far."""
    retry_after: float = 0.0
    hint: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Places of sensitive data and what is done about them, never the text."""


class Rehearsal(msgspec.Struct, frozen=True):
    """What would become of a message, stage by stage."""

    decision: Decision
    reason: str = ""
    stages: tuple[StageVerdict, ...] = ()
    switched_off: tuple[str, ...] = ()
    """Features that the policy has switched off."""

    @property
    def would_pass(self) -> bool:
        """Whether the message would be delivered."""
        return self.decision.is_delivered
