"""Tokens: the one credential of an agent, and the keys that derive from it.

A token holds 32 random bytes and the public key of the gateway it is for. The agent's keys derive from the random
bytes by HKDF-SHA-256 (RFC 5869): X25519 for seals and for end-to-end encryption, Ed25519 for signatures. So the
token itself never travels and the registry holds public keys only; the gateway's key in it keeps anyone else from
posing as the gateway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mas_core.errors import TokenInvalid
from mas_core.model.registration import AgentKey

PREFIX = "mas_"
_KEY_SIZE = 32
_CHECK_SIZE = 4


@dataclass(frozen=True, slots=True)
class AgentKeys:
    """What an agent derives from its token; shows no secret."""

    agent_id: str
    key_id: str
    gateway_public_key: bytes
    gateway_key_id: str
    seal_key: X25519PrivateKey = field(repr=False)
    signing_key: Ed25519PrivateKey = field(repr=False)
    encryption_key: X25519PrivateKey = field(repr=False)


def key_id_of(public_key: bytes) -> str:
    """The id of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def new_token(gateway_public_key: bytes) -> str:
    """A fresh token for the gateway with this X25519 public key (32 bytes)."""
    body = secrets.token_bytes(_KEY_SIZE) + gateway_public_key
    return PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")


def derive_keys(token: str, agent_id: str) -> AgentKeys:
    """The keys of `agent_id` from its token.

    Raises:
        TokenInvalid: The text is not a token, or was mistyped.
    """
    body = _body(token.strip())
    secret, gateway_public_key = body[:_KEY_SIZE], body[_KEY_SIZE:]
    seal_key = X25519PrivateKey.from_private_bytes(_derive(secret, f"mas/seal/{agent_id}"))
    signing_key = Ed25519PrivateKey.from_private_bytes(_derive(secret, f"mas/sign/{agent_id}"))
    encryption_key = X25519PrivateKey.from_private_bytes(_derive(secret, f"mas/encrypt/{agent_id}"))
    return AgentKeys(
        agent_id,
        key_id_of(seal_key.public_key().public_bytes_raw()),
        gateway_public_key,
        key_id_of(gateway_public_key),
        seal_key,
        signing_key,
        encryption_key,
    )


def agent_key(keys: AgentKeys, *, created: int, expires: int = 0) -> AgentKey:
    """The public half of an agent's keys, as the registry holds it; times in Unix milliseconds."""
    return AgentKey(
        keys.key_id,
        keys.seal_key.public_key().public_bytes_raw().hex(),
        keys.signing_key.public_key().public_bytes_raw().hex(),
        created,
        expires,
        encryption_key=keys.encryption_key.public_key().public_bytes_raw().hex(),
    )


def _body(token: str) -> bytes:
    hint = "tokens start with mas_ and stand in .mas/tokens/AGENT.token"
    if not token.isascii() or not token.startswith(PREFIX):
        raise TokenInvalid("Authentication failed: this is not a token", hint=hint)
    text = token.removeprefix(PREFIX)
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        body = b""
    if len(body) != 2 * _KEY_SIZE + _CHECK_SIZE:
        raise TokenInvalid("Authentication failed: this is not a whole token", hint=hint)
    if not secrets.compare_digest(_check(body[:-_CHECK_SIZE]), body[-_CHECK_SIZE:]):
        raise TokenInvalid("Authentication failed: the token was mistyped or cut", hint=hint)
    return body[:-_CHECK_SIZE]


def _check(body: bytes) -> bytes:
    return hashlib.sha256(b"mas token" + body).digest()[:_CHECK_SIZE]


def _derive(secret: bytes, info: str) -> bytes:
    return HKDF(SHA256(), _KEY_SIZE, salt=None, info=info.encode()).derive(secret)
