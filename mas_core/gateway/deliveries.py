"""What a target gets of a message that passed."""

from __future__ import annotations

from mas_core.gateway.stages.check_permit import make_permit
from mas_core.gateway.stages.check_signature import proof_of_delivery
from mas_core.gateway.transit import Transit
from mas_core.model.message import Capsule, Delivery, Flag
from mas_core.security.gateway_keys import GatewayKeys

_DELIVERED_FLAGS = (
    Flag.EXPECTS_REPLY
    | Flag.IS_REPLY
    | Flag.PARTIAL
    | Flag.ERROR
    | Flag.AT_MOST_ONCE
    | Flag.AT_LEAST_ONCE
    | Flag.EXACTLY_ONCE
)


def delivery_of(transit: Transit, keys: GatewayKeys, *, is_traced: bool = False) -> Delivery:
    """A message as it is delivered: what was parsed and scanned, with a capsule if a reply is expected.

    What is sent on behalf of others carries one as well, so that it can go on on their behalf.

    Args:
        transit: The message.
        keys: Make the permit.
        is_traced: Whether a span of it is exported.
    """
    envelope, now = transit.envelope, transit.now
    flags = envelope.flags & _DELIVERED_FLAGS
    if transit.is_encrypted:
        flags |= Flag.ENCRYPTED
    if is_traced:
        flags |= Flag.TRACED
    expires_at = (transit.due or now - transit.waited_ms) + envelope.ttl_ms
    permit = b""
    if transit.expects_reply or (transit.behalf and not transit.is_for_resource):
        permit = make_permit(
            keys,
            Capsule(
                envelope.id,
                transit.sender,
                transit.instance,
                envelope.target,
                expires_at,
                is_encrypted=transit.is_encrypted,
                chain=transit.behalf,
            ),
            is_answerable=transit.expects_reply,
        )
    return Delivery(
        envelope.id,
        transit.sender,
        envelope.target,
        envelope.type,
        transit.data,
        now,
        expires_at,
        envelope.priority,
        flags,
        envelope.correlation,
        permit,
        envelope.headers,
        proof=proof_of_delivery(transit) if transit.proof is not None else None,
        behalf=transit.behalf,
    )
