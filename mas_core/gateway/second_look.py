"""Puts a message that was accepted before through all checks again whose answer can have changed since."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mas_core.gateway.breakers import Breakers
from mas_core.gateway.directory import Directory
from mas_core.gateway.screening import Screening
from mas_core.gateway.transit import Stage, Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import Delivery, Envelope, Flag
from mas_core.model.signature import payload_digest

TRY_AGAIN_MS = 1_000
"""A message that cannot be delivered for a passing reason is tried again after so long."""

PASSING = frozenset({Decision.BACKPRESSURE, Decision.CIRCUIT_OPEN, Decision.RATE_LIMITED})
"""Refusals that tell of the moment, not of the message."""

_ONCE = frozenset(
    {
        "form",
        "expiry",
        "permit",
        "priority",
        "rate",
        "totals",
        "signature",
        "shadow",
        "schedule",
        "approval",
    }
)
"""Stages that look at the arrival of a message, which does not come again."""


class SecondLook:
    """The stages that count again for messages that were approved, are due, or that an operator retries."""

    def __init__(self, directory: Directory, breakers: Breakers) -> None:
        self._directory = directory
        self._breakers = breakers
        self._screening = Screening(())

    def use(self, stages: Iterable[Stage]) -> None:
        """Take those of these stages that count again."""
        self._screening = Screening(stage for stage in stages if stage.name not in _ONCE)

    def transit_of(
        self,
        delivery: Delivery,
        now: int,
        *,
        instance: str = "",
        key_id: str = "",
        is_encrypted: bool = False,
    ) -> Transit:
        """A message that begins its way again; its payload was parsed as strictly as any before."""
        envelope = Envelope(
            delivery.id,
            delivery.target,
            delivery.type,
            delivery.data,
            now,
            max(1, delivery.expires_at - now),
            delivery.priority,
            delivery.flags & (Flag.EXPECTS_REPLY | Flag.SIGNED),
            headers=delivery.headers,
        )
        transit = Transit.of(envelope, delivery.sender, instance, key_id, now)
        transit.is_well_formed = True
        transit.is_encrypted = is_encrypted
        transit.behalf = delivery.behalf
        transit.value, transit.data = msgspec.json.decode(delivery.data), delivery.data
        return transit

    def again(
        self, delivery: Delivery, now: int, *, instance: str, key_id: str, is_encrypted: bool
    ) -> Transit:
        """Decide again about a message that was kept, which counts no more once its sender's token does not."""
        transit = self.transit_of(delivery, now, instance=instance, key_id=key_id, is_encrypted=is_encrypted)
        key = self._directory.key(delivery.sender, key_id)
        if key is None or key.revoked:
            reason = f"the token that {delivery.sender} sent it with counts no more"
            transit.end(Verdict(Decision.UNAUTHENTICATED, f"Authentication failed: {reason}"))
        else:
            self.check(transit)
        return transit

    def check(self, transit: Transit) -> None:
        """Decide about it; what lets it go leaves it as it is."""
        batch = Surroundings(transit.now)
        self._screening.screen([transit], batch)
        if batch.turned_back:
            self._breakers.turned_back(transit.sender, transit.envelope.target, transit.envelope.id)


def note_change(delivery: Delivery, before: bytes, why: str) -> None:
    """Let the receiver know that its sender signed another payload than this."""
    proof = delivery.proof
    if proof is not None:
        digest = proof.digest or payload_digest(proof.salt, before)
        delivery.proof = msgspec.structs.replace(proof, digest=digest, change=why)
