"""Opens frames that lie in inboxes, on the gateway's side: for what is handed back, and for operators who look."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from mas_core.errors import DecryptionFailed
from mas_core.model.frame import DELIVERIES_DECODER, UNREADABLE, Frame, Place
from mas_core.model.message import Delivery
from mas_core.model.registration import Registration
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import SealKey, read_header


def open_inbox_frame(
    keys: GatewayKeys, namespace: str, registration: Registration | None, lane: str, frame: Frame
) -> list[Delivery]:
    """The messages of a frame that a gateway put into a lane of an agent's inbox.

    Args:
        keys: Of the gateways.
        namespace: Of the system.
        registration: The agent; None where there is none, which opens nothing.
        lane: Where the frame was found.
        frame: The frame.

    Raises:
        DecryptionFailed: No gateway sealed it for this agent and lane, or its key is not known any more.
    """
    header = read_header(frame)
    agent_keys = registration.keys if registration is not None else ()
    key = next((key for key in agent_keys if key.key_id == header.agent_key_id), None)
    if registration is None or key is None:
        raise DecryptionFailed("the frame is sealed for a key that is not known")
    if (header.agent, header.lane, header.place) != (registration.agent_id, lane, Place.INBOX):
        raise DecryptionFailed("the frame belongs to another place")
    seal_key = SealKey(
        keys.seal_key,
        X25519PublicKey.from_public_bytes(bytes.fromhex(key.seal_key)),
        session=header.session,
        namespace=namespace,
        to_gateway=False,
        agent=registration.agent_id,
        agent_key_id=key.key_id,
        gateway_key_id=keys.key_id,
    )
    try:
        return DELIVERIES_DECODER.decode(seal_key.open(header, frame))
    except UNREADABLE as error:
        raise DecryptionFailed("the frame holds no messages") from error
