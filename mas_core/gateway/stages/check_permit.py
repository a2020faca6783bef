"""Judges a reply by the permit that the gateway gave out with the request."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.model.frame import UNREADABLE
from mas_core.model.message import Capsule
from mas_core.registry.signed import Macs

_CAPSULE = msgspec.msgpack.Decoder(Capsule)


def make_permit(macs: Macs, capsule: Capsule) -> bytes:
    """A permit to answer one request, as it travels with the request."""
    mac = macs.mac("permit", msgspec.msgpack.encode(capsule))
    return msgspec.msgpack.encode(msgspec.structs.replace(capsule, mac=mac))


class CheckPermit:
    """Only the addressed agent may answer, in time, to the instance that asked."""

    name = "permit"

    def __init__(self, macs: Macs) -> None:
        self._macs = macs

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that need no permit, or have one."""
        for transit in transits:
            if transit.is_reply:
                return one_by_one(self, transits, batch)
        return transits

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Denied, expired, or the permit in `transit.capsule`."""
        if not transit.is_reply:
            return None
        envelope = transit.envelope
        try:
            capsule = _CAPSULE.decode(envelope.capsule)
        except UNREADABLE:
            return _denied("the reply carries no permit")
        bare = msgspec.structs.replace(capsule, mac=b"")
        if not self._macs.check_mac("permit", msgspec.msgpack.encode(bare), capsule.mac):
            return _denied("the permit of the reply is not from this gateway")
        if capsule.replier != transit.sender:
            return _denied(f"only {capsule.replier} may answer this request")
        if capsule.asker != envelope.target or capsule.request != envelope.correlation:
            return _denied("the permit is for another request")
        if batch.now > capsule.expires_at:
            return Verdict(Decision.EXPIRED, "the request that this answers is no longer waiting")
        transit.capsule = capsule
        return None


def _denied(reason: str) -> Verdict:
    return Verdict(Decision.DENIED, f"Authorization denied: {reason}")
