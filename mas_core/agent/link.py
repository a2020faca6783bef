"""One running instance's side of the seals: its keys, and the sessions it shares with the gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from mas_core.base.ids import new_instance_id
from mas_core.errors import DecryptionFailed
from mas_core.model.frame import MAX_DELIVERY_MESSAGES, Frame, FrameHeader, Place
from mas_core.security.seals import SealKey, read_header
from mas_core.security.tokens import AgentKeys

MAX_CACHED_SESSIONS = 256


@dataclass(slots=True)
class Link:
    """Opens what the gateway sends to this instance and gives keys for what it sends.

    `instance` is where replies and receipts go; it is new for every start.
    """

    agent_id: str
    keys: AgentKeys
    namespace: str
    instance: str = field(default_factory=new_instance_id)
    _gateway_sessions: dict[str, SealKey] = field(default_factory=dict)

    def sending_key(self, session: str) -> SealKey:
        """The key for frames to the gateway under a new session."""
        return self._seal_key(session, to_gateway=True)

    def open(self, frame: Frame, *places: Place) -> tuple[FrameHeader, bytes]:
        """Header and body of a frame from the gateway.

        Raises:
            DecryptionFailed: It is not from the gateway, not for this agent, or belongs elsewhere.
        """
        header = read_header(frame)
        if header.namespace != self.namespace or header.agent != self.agent_id or header.place not in places:
            raise DecryptionFailed("the frame belongs to another place")
        if header.instance and header.instance != self.instance:
            raise DecryptionFailed("the frame belongs to another instance")
        key = self._gateway_sessions.get(header.session)
        if key is None:
            key = self._seal_key(header.session, to_gateway=False)
            if len(self._gateway_sessions) >= MAX_CACHED_SESSIONS:
                self._gateway_sessions.clear()
            body = key.open(header, frame)
            self._gateway_sessions[header.session] = key
            return header, body
        return header, key.open(header, frame)

    def count_for_other_key(self, frame: Frame, lane: str) -> int:
        """Messages of an inbox frame that says it is for this agent, but sealed for a key that is not ours.

        0 when it says otherwise. What it says counts only once the gateway has opened it.
        """
        try:
            header = read_header(frame)
        except DecryptionFailed:
            return 0
        says_ours = (header.namespace, header.agent, header.place, header.lane, header.instance) == (
            self.namespace, self.agent_id, Place.INBOX, lane, "",
        )  # fmt: skip
        has_key = self.keys.key_id == header.agent_key_id or self.keys.key_id in (header.wraps or {})
        is_possible = 0 < header.count <= MAX_DELIVERY_MESSAGES
        return header.count if says_ours and not has_key and is_possible else 0

    def _seal_key(self, session: str, *, to_gateway: bool) -> SealKey:
        return SealKey(
            self.keys.seal_key,
            X25519PublicKey.from_public_bytes(self.keys.gateway_public_key),
            session=session,
            namespace=self.namespace,
            to_gateway=to_gateway,
            agent=self.agent_id,
            agent_key_id=self.keys.key_id,
            gateway_key_id=self.keys.gateway_key_id,
        )
