"""Delivered messages as handlers see them."""

from __future__ import annotations

import msgspec

from mas_core.model.message import BEHALF_HEADER, AgentMessage, Delivery, Flag, MessageMeta

_decode_payload = msgspec.json.Decoder(dict[str, object]).decode


def message_of(delivery: Delivery) -> AgentMessage:
    """A delivered message as handlers see it."""
    flags = delivery.flags
    meta = MessageMeta(delivery.correlation or delivery.id)
    if flags:
        meta.expects_reply = bool(flags & Flag.EXPECTS_REPLY)
        meta.is_reply = bool(flags & Flag.IS_REPLY)
        meta.is_final = not flags & Flag.PARTIAL
        meta.is_error = bool(flags & Flag.ERROR)
    return AgentMessage(
        delivery.sender,
        delivery.target,
        delivery.type,
        _decode_payload(delivery.data),
        meta,
        delivery.accepted_at / 1000,
        delivery.id,
        delivery.priority,
        _headers(delivery) if delivery.behalf or delivery.headers else {},
        delivery.attempt,
        capsule=delivery.capsule,
        is_traced=bool(flags & Flag.TRACED),
    )


def _headers(delivery: Delivery) -> dict[str, str]:
    """The headers with the gateway's word on whose behalf it was sent, and nobody else's."""
    headers = delivery.headers or {}
    if delivery.behalf:
        return {**headers, BEHALF_HEADER: " ".join(delivery.behalf)}
    if BEHALF_HEADER in headers:
        return {name: value for name, value in headers.items() if name != BEHALF_HEADER}
    return headers
