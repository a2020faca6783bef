"""What an agent knows of others' keys, and what it does with them: verify, encrypt, decrypt.

Public keys come from the gateway, which answers from registrations under its MAC. A gateway operator could give
out a key of their own and so read or sign in somebody's name; who must not depend on that pins the fingerprints of
the keys, got by another way, and then no other key counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from mas_core.agent.link import Link
from mas_core.errors import DecryptionFailed, KeyNotFound, SignatureInvalid
from mas_core.model.encrypted_payload import KIND_OF_SUITE, MARK, read_encrypted
from mas_core.model.json_text import encode_json, parse_json
from mas_core.model.message import AgentMessage, Delivery, Envelope
from mas_core.model.registration import AgentKey, DecryptionKey
from mas_core.model.signature import SignedStatement, Statement, headers_digest, payload_digest
from mas_core.security.encryption import PrivateKey, PublicKey, context_of, decrypt, encrypt
from mas_core.security.key_files import fingerprint, public_bytes, public_key_of

CACHED_FOR_S = 60.0
"""How long keys are used before they are asked for again."""
MAX_CACHED_PEERS = 10_000
MIN_ASK_INTERVAL_S = 1.0
"""Seconds between questions after one and the same agent, whatever arrives in its name."""
MIN_LOAD_INTERVAL_S = 0.2
"""Seconds between two looks for new private keys."""


class KnownKeys(msgspec.Struct, frozen=True):
    """The public keys of one agent."""

    keys: tuple[AgentKey, ...] = ()
    decryption_keys: tuple[DecryptionKey, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    agents: dict[str, KnownKeys]
    suites: tuple[str, ...]
    now: int


class Peers:
    """Keys of other agents.

    Args:
        link: Whose side this is.
        ask: Asks the gateway for the keys of some agents.
        load_keys: Reads the private keys beside the one that derives from the token: key id -> key. Asked
            again when something is encrypted for a key that is not at hand.
        pins: Agent id -> SHA-256 fingerprints (hex) of the only keys of it that count.
        requires_signatures: Whether messages without a signature are refused.
    """

    def __init__(
        self,
        link: Link,
        ask: Callable[[list[str]], Awaitable[AgentMessage]],
        *,
        load_keys: Callable[[], Mapping[str, PrivateKey]],
        pins: Mapping[str, Collection[str]],
        requires_signatures: bool,
    ) -> None:
        self._link = link
        self._ask = ask
        self._load_keys = load_keys
        self._private_keys = self._own_keys()
        self._loaded_at = time.monotonic()
        self._pins = {agent_id: {pin.lower() for pin in given} for agent_id, given in pins.items()}
        self.requires_signatures = requires_signatures
        self._known: dict[str, tuple[float, KnownKeys]] = {}
        self._suites: tuple[str, ...] = ()
        self._now = 0
        self._asking = asyncio.Lock()

    async def encrypt(self, envelope: Envelope) -> None:
        """Replace the payload of a message by one that only its target can read.

        Raises:
            KeyNotFound: The target has no key for it that the policy and the pins let through.
            GatewayDown: No gateway tells the keys.
        """
        known = await self._keys_of(envelope.target)
        for suite in self._suites:
            if recipients := self._recipients(envelope.target, known, suite):
                context = self._context(
                    self._link.agent_id, envelope.target, envelope.type, envelope.id, envelope.correlation
                )
                sealed = encrypt(suite, recipients, context, envelope.data)
                envelope.data = encode_json(sealed.as_payload())
                return
        raise KeyNotFound(
            f"{envelope.target} has no key that a message could be encrypted for",
            hint=(f"mas agent token rotate {envelope.target}", f"mas key list {envelope.target}"),
        )

    def forget(self, agent_id: str) -> None:
        """Ask for the keys of an agent again the next time."""
        self._known.pop(agent_id, None)

    def decrypt(self, delivery: Delivery) -> tuple[str, bytes]:
        """The key id that opened an encrypted payload, and what it held.

        Raises:
            DecryptionFailed: No key of this instance opens it, or it was made for another message.
        """
        value = parse_json(delivery.data)
        if not isinstance(value, dict) or MARK not in value:
            raise DecryptionFailed("the payload is said to be encrypted and is not")
        context = self._context(
            delivery.sender, self._link.agent_id, delivery.type, delivery.id, delivery.correlation
        )
        payload = read_encrypted(dict(value))
        if not self._private_keys.keys() & payload.keys and self._may_load_again():
            self._private_keys = self._own_keys()
        return decrypt(payload, self._private_keys, context)

    def _own_keys(self) -> dict[str, PrivateKey]:
        keys = self._link.keys
        return {**self._load_keys(), keys.key_id: keys.encryption_key}

    def _may_load_again(self) -> bool:
        """A key may have been made since; whoever sends rubbish must not keep the disk busy."""
        if time.monotonic() - self._loaded_at < MIN_LOAD_INTERVAL_S:
            return False
        self._loaded_at = time.monotonic()
        return True

    async def verify(self, delivery: Delivery) -> SignedStatement | None:
        """What the sender signed of a delivery; None when it did not sign and need not.

        Raises:
            SignatureInvalid: The signature is not of a key of the sender, or is missing though required.
            GatewayDown: No gateway tells the keys.
        """
        proof = delivery.proof
        if proof is None:
            if self.requires_signatures:
                raise SignatureInvalid("the message carries no signature of its sender")
            return None
        signed = SignedStatement(
            Statement(
                namespace=self._link.namespace,
                sender=delivery.sender,
                key_id=proof.key_id,
                target=self._link.agent_id,
                type=delivery.type,
                message_id=delivery.id,
                sent_at=proof.sent_at,
                ttl_ms=proof.ttl_ms,
                priority=proof.priority,
                flags=proof.flags,
                correlation=delivery.correlation,
                payload=proof.digest or payload_digest(proof.salt, delivery.data),
                headers=headers_digest(proof.salt, delivery.headers),
                algorithm=proof.algorithm,
            ),
            proof.value,
            proof.salt,
            covers_payload=not proof.digest,
            change=proof.change,
        )
        known = await self._keys_of(delivery.sender, proof.key_id)
        key = next((key for key in known.keys if key.key_id == proof.key_id), None)
        if key is None or not self._is_trusted(delivery.sender, bytes.fromhex(key.signing_key)):
            raise SignatureInvalid("the signature is not under a key of the sender that counts here")
        signed.statement.verify(proof.value, key.signing_key)
        return signed

    def _recipients(self, target: str, known: KnownKeys, suite: str) -> dict[str, PublicKey]:
        kind = KIND_OF_SUITE.get(suite)
        keys = {
            key.key_id: public_key_of(key)
            for key in known.decryption_keys
            if key.kind == kind and key.is_valid(self._now)
        }
        if not keys and kind == "x25519":
            keys = {
                key.key_id: X25519PublicKey.from_public_bytes(bytes.fromhex(key.encryption_key))
                for key in known.keys
                if key.encryption_key and key.is_valid(self._now)
            }
        return {key_id: key for key_id, key in keys.items() if self._is_trusted(target, public_bytes(key))}

    def _is_trusted(self, agent_id: str, public_key: bytes) -> bool:
        pins = self._pins.get(agent_id)
        return pins is None or fingerprint(public_key) in pins

    async def _keys_of(self, agent_id: str, key_id: str = "") -> KnownKeys:
        known = self._remembered(agent_id, key_id)
        if known is not None:
            return known
        async with self._asking:
            # Whoever asked before may have asked for the same.
            return self._remembered(agent_id, key_id) or await self._learn(agent_id)

    def _remembered(self, agent_id: str, key_id: str) -> KnownKeys | None:
        asked_at, known = self._known.get(agent_id, (0.0, None))
        if known is None:
            return None
        has_key = not key_id or any(key.key_id == key_id for key in known.keys)
        age = time.monotonic() - asked_at
        return known if age < (CACHED_FOR_S if has_key else MIN_ASK_INTERVAL_S) else None

    async def _learn(self, agent_id: str) -> KnownKeys:
        answer = msgspec.convert((await self._ask([agent_id])).data, _Answer)
        self._suites = answer.suites
        self._now = answer.now
        if len(self._known) >= MAX_CACHED_PEERS:
            self._known.clear()
        known = answer.agents.get(agent_id, KnownKeys())
        self._known[agent_id] = (time.monotonic(), known)
        return known

    def _context(
        self, sender: str, target: str, message_type: str, message_id: str, correlation: str
    ) -> bytes:
        return context_of(self._link.namespace, sender, target, message_type, message_id, correlation)
