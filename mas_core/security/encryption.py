"""End-to-end encryption: payloads that only the target can read, not even the gateway.

A fresh AES-256-GCM key seals the payload and is wrapped for every key of the target, by HPKE (RFC 9180) or by
RSA-OAEP (RFC 8017). Namespace, sender, target, type, message id, correlation and key ids are bound to both, so
what was encrypted for one message does not open as part of another. HPKE's single-shot interface has no
associated data; everything is bound by its `info`, which enters the derivation of its key.

It hides the payload, not that there is a message, its size, type and headers; and it does not prove who
encrypted, since everybody knows the public keys. That is what message signatures are for.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from mas_core.errors import DecryptionFailed, InvalidPayload
from mas_core.model.encrypted_payload import HPKE, RSA_OAEP, VERSION, EncryptedPayload
from mas_core.model.signature import length_prefixed

PublicKey: TypeAlias = X25519PublicKey | RSAPublicKey
PrivateKey: TypeAlias = X25519PrivateKey | RSAPrivateKey

_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_NONCE_BYTES = 12


def context_of(
    namespace: str, sender: str, target: str, message_type: str, message_id: str, correlation: str
) -> bytes:
    """What an encrypted payload is bound to."""
    fields = ("mas/e2e/v1", namespace, sender, target, message_type, message_id, correlation)
    return length_prefixed(field.encode() for field in fields)


def encrypt(suite: str, recipients: Mapping[str, PublicKey], context: bytes, data: bytes) -> EncryptedPayload:
    """`data` for the holders of these keys.

    Args:
        suite: `hpke` with X25519 keys, or `rsa-oaep` with RSA keys.
        recipients: Key id -> public key; any one of them opens it.
        context: From `context_of`.
        data: The payload.
    """
    body_key = os.urandom(32)
    bound = _bound(context, suite, recipients)
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + AESGCM(body_key).encrypt(nonce, data, bound)
    wrapped = {
        key_id: _text(_wrap(suite, key, body_key, _bound(context, suite, [key_id])))
        for key_id, key in recipients.items()
    }
    return EncryptedPayload(VERSION, suite, wrapped, _text(sealed))


def decrypt(
    payload: EncryptedPayload, private_keys: Mapping[str, PrivateKey], context: bytes
) -> tuple[str, bytes]:
    """The key id that opened the payload, and what was encrypted.

    Raises:
        DecryptionFailed: None of the keys opens it, or it was made for another message or changed since.
    """
    key_id = next((name for name in payload.keys if name in private_keys), "")
    if not key_id:
        raise DecryptionFailed("the payload is encrypted for a key that is not at hand")
    try:
        wrapping = _bound(context, payload.suite, [key_id])
        body_key = _unwrap(payload.suite, private_keys[key_id], payload.wrapped(key_id), wrapping)
        sealed = payload.sealed()
        bound = _bound(context, payload.suite, payload.keys)
        return key_id, AESGCM(body_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError, TypeError, InvalidPayload) as error:
        raise DecryptionFailed("the encrypted payload does not open for this message") from error


def _bound(context: bytes, suite: str, key_ids: Mapping[str, object] | list[str]) -> bytes:
    return context + length_prefixed(name.encode() for name in (suite, *sorted(key_ids)))


def _wrap(suite: str, key: PublicKey, body_key: bytes, bound: bytes) -> bytes:
    if suite == HPKE and isinstance(key, X25519PublicKey):
        return _HPKE.encrypt(body_key, key, bound)
    if suite == RSA_OAEP and isinstance(key, RSAPublicKey):
        return key.encrypt(body_key, _oaep(bound))
    raise TypeError(f"the suite {suite} has no keys of this kind")


def _unwrap(suite: str, key: PrivateKey, wrapped: bytes, bound: bytes) -> bytes:
    if suite == HPKE and isinstance(key, X25519PrivateKey):
        return _HPKE.decrypt(wrapped, key, bound)
    if suite == RSA_OAEP and isinstance(key, RSAPrivateKey):
        return key.decrypt(wrapped, _oaep(bound))
    raise TypeError(f"the suite {suite} has no keys of this kind")


def _oaep(bound: bytes) -> OAEP:
    return OAEP(MGF1(SHA256()), SHA256(), hashlib.sha256(bound).digest())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
