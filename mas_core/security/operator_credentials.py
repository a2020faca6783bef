"""What an operator is given: a token of its own, and the part of the gateway's keys that its role needs.

The token proves who somebody is; it works like that of an agent, and the policy holds its public half alone. The
keys set the bounds that no program can be talked out of: what a role may not open, it has no key for.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mas_core.base.ids import check_agent_id
from mas_core.errors import ConfigurationError, MasError, RoleForbidden
from mas_core.model.operator_entry import SIGNED_AS
from mas_core.model.operators import OperatorKey, Role
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.tokens import derive_keys, key_id_of, new_token

PARTS: Final[Mapping[Role, tuple[str, ...]]] = {
    "viewer": ("mac_key",),
    "operator": ("mac_key", "at_rest_key", "seal_key"),
    "security": ("mac_key",),
    "auditor": ("mac_key", "fingerprint_key"),
}
"""Role -> the keys that it is given: to check records, to open what is kept and what waits in queues, to compare
fingerprints."""

_LACKING: Final[Mapping[str, str]] = {
    "mac_key": "checks records",
    "seal_key": "opens messages in queues",
    "at_rest_key": "opens what is kept sealed",
    "audit_key": "signs for the gateways",
    "fingerprint_key": "makes fingerprints of payloads",
    "owner_key": "vouches for the owner",
}


class Credential(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The file of an operator; shows no secret."""

    operator: str
    role: Role
    """As it was when this was made; what counts is what the policy says."""
    token: str
    keys: dict[str, str]
    """Name -> key, hex."""

    def __repr__(self) -> str:
        return f"Credential({self.operator!r}, {self.role!r})"


class Signer:
    """Signs what an operator does.

    Args:
        name: The operator.
        key: Its private key.
    """

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self._key = key
        self.public = key.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public)

    def sign(self, text: bytes) -> bytes:
        """The signature of an entry of the operator log."""
        return self._key.sign(SIGNED_AS + text)


class RoleKeys(GatewayKeys):
    """The part of a gateway's keys that a role is given; what it lacks cannot be had.

    Args:
        role: Whose keys they are.
        public_key: X25519 public key of the gateway.
        parts: Name -> key.
    """

    __slots__ = ("_role",)

    def __init__(self, role: Role, public_key: bytes, parts: Mapping[str, bytes]) -> None:
        have: dict[str, object] = {"_role": role, "public_key": public_key, "key_id": key_id_of(public_key)}
        have |= parts
        if "seal_key" in parts:
            have["seal_key"] = X25519PrivateKey.from_private_bytes(parts["seal_key"])
        for name, value in have.items():
            object.__setattr__(self, name, value)
        if "fingerprint_key" in parts:
            self.__post_init__()

    def __getattr__(self, name: str) -> NoReturn:
        """Called for what is not there alone."""
        lacking = {"_halves": "fingerprint_key", "fingerprint_key_id": "fingerprint_key"}.get(name, name)
        if lacking not in _LACKING:
            raise AttributeError(name)
        raise RoleForbidden(
            f"the role {self._role} has not the key that {_LACKING[lacking]}",
            hint="mas help operators",
            role=self._role,
        )


def new_credential(name: str, role: Role, keys: GatewayKeys) -> Credential:
    """A fresh token for an operator, and the keys of its role out of the whole ones."""
    parts = {
        part: value.private_bytes_raw() if isinstance(value, X25519PrivateKey) else value
        for part in PARTS[role]
        if isinstance(value := getattr(keys, part), bytes | X25519PrivateKey)
    }
    return Credential(
        name, role, new_token(keys.public_key), {part: value.hex() for part, value in parts.items()}
    )


def read_credential(text: bytes, source: str) -> Credential:
    """The credential that a file or a variable holds.

    Args:
        text: What stands there.
        source: What it is called in errors.

    Raises:
        ConfigurationError: This is none.
    """
    try:
        found = msgspec.json.decode(text, type=Credential)
        check_agent_id(found.operator)
        signer_of(found)
        keys_of(found)
    except (msgspec.DecodeError, ValueError, RecursionError, MasError):
        raise ConfigurationError(
            f"{source} does not hold what mas operator add writes", hint="mas operator token rotate NAME"
        ) from None
    return found


def signer_of(credential: Credential) -> Signer:
    """What signs with a credential.

    Raises:
        TokenInvalid: Its token is none.
    """
    derived = derive_keys(credential.token, f"operator/{credential.operator}")
    return Signer(credential.operator, derived.signing_key)


def keys_of(credential: Credential) -> RoleKeys:
    """The gateway's keys as far as a credential holds them.

    Raises:
        TokenInvalid: Its token is none.
        ValueError: A key is none.
    """
    parts = {name: bytes.fromhex(text) for name, text in credential.keys.items()}
    if not set(parts) <= {"mac_key", "at_rest_key", "seal_key", "fingerprint_key"} or any(
        len(value) != 32 for value in parts.values()
    ):
        raise ValueError
    public_key = derive_keys(credential.token, "operator").gateway_public_key
    return RoleKeys(credential.role, public_key, parts)


def operator_key(credential: Credential, *, created: int, expires: int = 0) -> OperatorKey:
    """The public half of a token, as the policy holds it; times in Unix milliseconds."""
    signer = signer_of(credential)
    return OperatorKey(signer.key_id, signer.public.hex(), created, expires)


def is_of(key: OperatorKey, signer: Signer) -> bool:
    """Whether a signer has the private half."""
    return secrets.compare_digest(key.signing_key, signer.public.hex())


def check_signature(key: OperatorKey, text: bytes, signature: bytes) -> bool:
    """Whether a signature of an entry of the operator log was made with this key."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.signing_key))
        public.verify(signature, SIGNED_AS + text)
    except (InvalidSignature, ValueError):
        return False
    return True
