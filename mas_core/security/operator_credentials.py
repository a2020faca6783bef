"""What an operator is given: a token of its own, and the part of the gateway's keys that its role needs.

The token proves who somebody is; it works like that of an agent, and the policy holds its public half alone. The
keys set the bounds that no program can be talked out of: what a role may not open, it has no key for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mas_core.base.ids import check_agent_id
from mas_core.base.known_secrets import remember
from mas_core.errors import ConfigurationError, MasError, RoleForbidden
from mas_core.model.operator_entry import SIGNED_AS
from mas_core.model.operators import OperatorKey, Role
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.tokens import derive_keys, key_id_of, new_token

PARTS: Final[Mapping[Role, tuple[str, ...]]] = {
    "viewer": ("mac_key",),
    "operator": ("mac_key", "at_rest_key", "seal_key", "decision_key"),
    "security": ("mac_key",),
    "auditor": ("mac_key", "fingerprint_key"),
}
"""Role -> the keys that it is given: to check records, to open what is kept and what waits in queues, to approve,
to compare fingerprints."""

_GIVEN: Final = frozenset(part for parts in PARTS.values() for part in parts)
KEY_SIZE: Final = 32

_LACKING: Final[Mapping[str, str]] = {
    "mac_key": "checks records",
    "seal_key": "opens messages in queues",
    "at_rest_key": "opens what is kept sealed",
    "audit_key": "signs for the gateways",
    "fingerprint_key": "makes fingerprints of payloads",
    "decision_key": "vouches for decisions",
    "owner_key": "vouches for the owner",
}


class Credential(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The file of an operator; shows no secret."""

    operator: str
    role: Role
    """As it was when this was made; what counts is what the policy says."""
    gateway: str
    """X25519 public key of the gateway, hex."""
    keys: dict[str, str]
    """Name -> key, hex."""
    token: str = ""
    """What proves who this is; empty where a certificate does."""

    def __repr__(self) -> str:
        return f"Credential({self.operator!r}, {self.role!r})"


class Signer(Protocol):
    """Signs what an operator does."""

    name: str

    def sign(self, text: bytes) -> bytes:
        """What proves that the operator has written `text`."""


class TokenSigner:
    """Signs with the token of an operator.

    Args:
        name: The operator.
        key: Its private key, which derives from the token.
    """

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self._key = key

    def sign(self, text: bytes) -> bytes:
        """The signature, by Ed25519 (RFC 8032)."""
        return self._key.sign(SIGNED_AS + text)

    def public_half(self, *, created: int, expires: int = 0) -> OperatorKey:
        """What the policy holds of the token; times in Unix milliseconds."""
        public = self._key.public_key().public_bytes_raw()
        return OperatorKey(key_id_of(public), public.hex(), created, expires)


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


def new_credential(name: str, role: Role, keys: GatewayKeys, *, has_token: bool = True) -> Credential:
    """The keys of a role out of the whole ones, and a fresh token unless a certificate takes its place."""
    parts = {
        part: value.private_bytes_raw() if isinstance(value, X25519PrivateKey) else value
        for part in PARTS[role]
        if isinstance(value := getattr(keys, part), bytes | X25519PrivateKey)
    }
    return Credential(
        name,
        role,
        keys.public_key.hex(),
        {part: value.hex() for part, value in parts.items()},
        new_token(keys.public_key) if has_token else "",
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
        keys_of(found)
        if found.token:
            signer_of(found)
    except (msgspec.DecodeError, ValueError, RecursionError, MasError):
        raise ConfigurationError(
            f"{source} does not hold what mas operator add writes", hint="mas operator token rotate NAME"
        ) from None
    for secret in (found.token, *found.keys.values()):
        remember(secret)
    return found


def signer_of(credential: Credential) -> TokenSigner:
    """What signs with the token of a credential.

    Raises:
        TokenInvalid: It is none.
    """
    derived = derive_keys(credential.token, f"operator/{credential.operator}")
    return TokenSigner(credential.operator, derived.signing_key)


def keys_of(credential: Credential) -> RoleKeys:
    """The gateway's keys as far as a credential holds them.

    Raises:
        ValueError: One is none.
    """
    parts = {name: bytes.fromhex(text) for name, text in credential.keys.items()}
    public_key = bytes.fromhex(credential.gateway)
    if not set(parts) <= _GIVEN or any(len(value) != KEY_SIZE for value in (public_key, *parts.values())):
        raise ValueError
    return RoleKeys(credential.role, public_key, parts)
