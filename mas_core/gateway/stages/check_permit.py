"""Judges replies, and what is sent on behalf of others, by the capsule that the gateway gave out with a request.

A capsule says who asked whom, and on whose behalf. Whoever was asked shows it with what it sends for the asker,
so nobody can claim to speak for somebody who did not ask, and the chain of askers grows with each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.frame import UNREADABLE
from mas_core.model.message import Capsule
from mas_core.registry.signed import Macs

MAX_CHAIN: Final = 8
"""On behalf of so many agents at most a message is sent."""
DELEGATION_LOOP: Final = "delegation_loop"
DELEGATION_TOO_DEEP: Final = "delegation_too_deep"
DELEGATION_INVALID: Final = "delegation_invalid"
"""Name the reason in a receipt, where rules are named otherwise."""

_CAPSULE = msgspec.msgpack.Decoder(Capsule)
_PERMIT = "permit"
_DELEGATION = "delegation"
"""What the capsule of a message is MACed for that asks for no answer: nobody can answer with it."""


def make_permit(macs: Macs, capsule: Capsule, *, is_answerable: bool = True) -> bytes:
    """A capsule as it travels with a message.

    Args:
        macs: Makes its MAC.
        capsule: What it says.
        is_answerable: Whether it is a permit to answer, and not only the proof of who asked.
    """
    mac = macs.mac(_PERMIT if is_answerable else _DELEGATION, msgspec.msgpack.encode(capsule))
    return msgspec.msgpack.encode(msgspec.structs.replace(capsule, mac=mac))


class CheckPermit:
    """Only the addressed agent may answer, in time, to the instance that asked, and speak for who asked it."""

    name = "permit"

    def __init__(self, macs: Macs) -> None:
        self._macs = macs

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that need no permit, or have one."""
        for transit in transits:
            if transit.is_reply or transit.envelope.behalf:
                return one_by_one(self, transits, batch)
        return transits

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Denied, expired, or the permit in `transit.capsule`, or those who asked in `transit.behalf`."""
        envelope = transit.envelope
        if not transit.is_reply:
            return self._check_delegation(transit, batch) if envelope.behalf else None
        try:
            capsule = _CAPSULE.decode(envelope.capsule)
        except UNREADABLE:
            return _denied("the reply carries no permit")
        if not self._is_ours(capsule, _PERMIT):
            return _denied("the permit of the reply is not from this gateway")
        if capsule.replier != transit.sender:
            return _denied(f"only {capsule.replier} may answer this request")
        if capsule.asker != envelope.target or capsule.request != envelope.correlation:
            return _denied("the permit is for another request")
        if batch.now > capsule.expires_at:
            return Verdict(Decision.EXPIRED, "the request that this answers is no longer waiting")
        transit.capsule = capsule
        return None

    def _check_delegation(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        try:
            capsule = _CAPSULE.decode(transit.envelope.behalf)
        except UNREADABLE:
            return _denied("the proof of who asked cannot be read", DELEGATION_INVALID)
        if not (self._is_ours(capsule, _PERMIT) or self._is_ours(capsule, _DELEGATION)):
            return _denied("the proof of who asked is not from this gateway", DELEGATION_INVALID)
        sender, target = transit.sender, transit.envelope.target
        if capsule.replier != sender:
            return _denied(f"{capsule.replier} was asked, and not {sender}", DELEGATION_INVALID)
        chain = transit.behalf = (*capsule.chain, capsule.asker)
        transit.details = {**(transit.details or {}), "on_behalf_of": list(chain)}
        if batch.now > capsule.expires_at:
            return Verdict(Decision.EXPIRED, f"what {capsule.asker} asked for is no longer waited for")
        if target == sender or target in chain:
            way = " -> ".join((*chain, sender, target))
            return _denied(f"it would go round in circles: {way}", DELEGATION_LOOP)
        if len(chain) > MAX_CHAIN:
            return _denied(
                f"it is sent on behalf of {len(chain)} agents; at most {MAX_CHAIN} are let through",
                DELEGATION_TOO_DEEP,
            )
        return None

    def _is_ours(self, capsule: Capsule, purpose: str) -> bool:
        bare = msgspec.structs.replace(capsule, mac=b"")
        return self._macs.check_mac(purpose, msgspec.msgpack.encode(bare), capsule.mac)


def _denied(reason: str, rule: str = "") -> Verdict:
    return Verdict(Decision.DENIED, f"Authorization denied: {reason}", rule)
