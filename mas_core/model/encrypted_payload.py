"""The one shape of an end-to-end encrypted payload, by which the gateway knows what it cannot read.

    {"mas_e2e": {"v": 1, "suite": "hpke", "keys": {KEY_ID: WRAPPED, ...}, "body": SEALED}}

`keys` holds the key of the body, wrapped for each key of the target; all binary values are base64 (RFC 4648).
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from mas_core.errors import InvalidPayload

MARK: Final = "mas_e2e"
VERSION: Final = 1

HPKE: Final = "hpke"
"""RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
RSA_OAEP: Final = "rsa-oaep"
"""RFC 8017: RSAES-OAEP with SHA-256 and MGF1 with SHA-256 around a key for AES-256-GCM."""
SUITES: Final = (HPKE, RSA_OAEP)
"""Preferred first."""
KIND_OF_SUITE: Final = {HPKE: "x25519", RSA_OAEP: "rsa"}

E2E_FORBIDDEN: Final = "e2e_forbidden"
"""Rule of refusals of encrypted messages where the gateway must be able to read."""
E2E_REQUIRED: Final = "e2e_required"
"""Rule of refusals of messages in clear where the gateway must not be able to read."""
E2E_KEY: Final = "e2e_key"
"""Rule of refusals of messages that are encrypted for keys that count no more: the sender asks for the new ones."""
MAX_KEYS: Final = 16


class EncryptedPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands under the mark."""

    v: int
    suite: str
    keys: dict[str, str]
    """Key id of the target -> the key of the body, wrapped."""
    body: str

    def wrapped(self, key_id: str) -> bytes:
        """The wrapped key for one key of the target, empty when there is none."""
        return _decoded(self.keys.get(key_id, ""))

    def sealed(self) -> bytes:
        """The sealed body."""
        return _decoded(self.body)

    def as_payload(self) -> dict[str, object]:
        """The payload that travels."""
        return {MARK: {"v": self.v, "suite": self.suite, "keys": dict(self.keys), "body": self.body}}


def read_encrypted(value: dict[str, object]) -> EncryptedPayload:
    """The encrypted payload in `value`, which has the mark.

    Raises:
        InvalidPayload: It has not exactly the shape, so something could be hidden in it.
    """
    try:
        found = msgspec.convert(value[MARK], EncryptedPayload)
    except msgspec.ValidationError:
        raise InvalidPayload("the encrypted payload does not have the one shape it must have") from None
    if len(value) != 1 or found.v != VERSION or not 0 < len(found.keys) <= MAX_KEYS or not found.body:
        raise InvalidPayload("the encrypted payload does not have the one shape it must have")
    for key_id, wrapped in found.keys.items():
        if not (len(key_id) == 16 and key_id.isalnum() and _decoded(wrapped)):
            raise InvalidPayload("the encrypted payload names a key that cannot be one")
    found.sealed()
    return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPayload("the encrypted payload holds something that is not base64") from None
