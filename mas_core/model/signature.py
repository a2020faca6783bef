"""What a sender signs of a message, and what of it travels on to the receiver and into the audit.

The signed bytes are a pre-authentication encoding as in DSSE (https://github.com/secure-systems-lab/dsse): the
kind of the statement and its fields, each with its length in front, so that no two messages give the same bytes
and nothing has to be parsed before it is verified.

A payload enters as SHA-256 over a random salt and its exact bytes. The salt travels with the message and is not
in the audit, so whoever reads the audit can check the signature, but cannot guess payloads by their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from mas_core.errors import SignatureInvalid

ALGORITHM: Final = "ed25519"
"""The only one there is, so nobody can talk a reader into a weaker one."""
SALT_BYTES: Final = 16
SIGNATURE_REQUIRED: Final = "signature_required"
"""Rule of refusals of messages without a signature: a sender that can sign does so then."""
SIGNATURE_INVALID: Final = "signature_invalid"
_STATEMENT_KIND: Final = b"application/vnd.mas.message.v1"


class Signature(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A sender's signature of one message, as it travels in the envelope."""

    algorithm: str
    key_id: str
    salt: bytes
    value: bytes


class Proof(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A signature that the gateway found right, with everything signed that a delivery does not say itself."""

    algorithm: str
    key_id: str
    salt: bytes
    value: bytes
    sent_at: int
    """Unix milliseconds by the sender's clock."""
    ttl_ms: int
    priority: int
    flags: int
    digest: bytes = b""
    """Of the payload as it was signed; empty when it was delivered so and the receiver digests it."""
    change: str = ""
    """What the gateway did with the payload after it was signed."""


class Statement(msgspec.Struct, frozen=True, gc=False):
    """Everything that a signature covers."""

    namespace: str
    sender: str
    key_id: str
    target: str
    type: str
    message_id: str
    sent_at: int
    ttl_ms: int
    priority: int
    flags: int
    correlation: str
    payload: bytes
    """`payload_digest` of its exact bytes."""
    headers: bytes
    """`headers_digest`; empty without headers."""
    algorithm: str = ALGORITHM

    def signed_bytes(self) -> bytes:
        """What is signed."""
        fields = (
            part if isinstance(part, bytes) else str(part).encode()
            for part in (getattr(self, name) for name in self.__struct_fields__)
        )
        body = length_prefixed(fields)
        return b"DSSEv1 %d %b %d %b" % (len(_STATEMENT_KIND), _STATEMENT_KIND, len(body), body)

    def verify(self, value: bytes, public_key: bytes | str) -> None:
        """Check a signature of this statement.

        Args:
            value: The signature.
            public_key: Ed25519 public key: 32 bytes, or hex.

        Raises:
            SignatureInvalid: It was not made by the holder of this key, or something differs from what was
                signed.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow, and few callers verify
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )

        if self.algorithm != ALGORITHM:
            raise SignatureInvalid("the signature is of a kind that is not accepted")
        try:
            raw = bytes.fromhex(public_key) if isinstance(public_key, str) else public_key
            Ed25519PublicKey.from_public_bytes(raw).verify(value, self.signed_bytes())
        except (InvalidSignature, ValueError) as error:
            raise SignatureInvalid from error


def payload_digest(salt: bytes, data: bytes) -> bytes:
    """What stands for a payload in a statement."""
    return hashlib.sha256(b"payload\x00" + salt + data).digest()


def headers_digest(salt: bytes, headers: Mapping[str, str] | None) -> bytes:
    """What stands for the headers in a statement, whatever their order."""
    if not headers:
        return b""
    flat = length_prefixed(part.encode() for item in sorted(headers.items()) for part in item)
    return hashlib.sha256(b"headers\x00" + salt + flat).digest()


def length_prefixed(fields: Iterable[bytes]) -> bytes:
    """Byte strings in a row, each with its length in front, so that none can flow into the next."""
    return b"".join(b"%d:%b," % (len(field), field) for field in fields)


class SignedStatement(msgspec.Struct, frozen=True):
    """What a receiver holds in hand: who signed what, to be verified without the gateway."""

    statement: Statement
    value: bytes
    """The signature."""
    salt: bytes
    """With it and the payload anybody can compute the digest in the statement."""
    covers_payload: bool
    """False: it covers the payload as it was sent, which the gateway has changed since."""
    change: str = ""
    """What the gateway did with the payload, in its own words."""
