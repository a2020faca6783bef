"""The keys of a system's gateways. They live outside the store and are shared by all its gateways."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.security.tokens import key_id_of
from mas_core.settings.private_files import private_dir, write_private
from mas_core.settings.secrets import read_secret

FILE_NAME = "gateway.key"
OWNED = "operator"
"""The kind of records that only whoever has the keys whole may write: what operators have done."""
DECISIONS = "approval:decision:"
"""Kinds of records that only those may write who may approve messages."""
_SECRET_SIZE = 32


@dataclass(frozen=True, slots=True)
class GatewayKeys:
    """Everything a gateway keeps secret, derived from one random secret by HKDF-SHA-256 (RFC 5869)."""

    seal_key: X25519PrivateKey = field(repr=False)
    audit_key: Ed25519PrivateKey = field(repr=False)
    at_rest_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    fingerprint_key: bytes = field(repr=False)
    decision_key: bytes = field(repr=False)
    """For MACs of decisions about messages that wait for a person."""
    owner_key: bytes = field(repr=False)
    """For MACs that nobody but gateways and the owner may make; no operator's part of the keys holds it."""
    public_key: bytes
    """X25519 public key, 32 bytes; part of every token."""
    key_id: str
    fingerprint_key_id: str = field(init=False, compare=False)
    """Names the fingerprint key in records and tells nothing of it: 8 hex digits."""
    _halves: tuple[hashlib._Hash, hashlib._Hash] = field(init=False, repr=False, compare=False)
    """SHA-256 with the inner and the outer fingerprint key of HMAC (RFC 2104) taken in."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_halves", _hmac_halves(self.fingerprint_key))
        name = hmac.digest(self.fingerprint_key, b"key id", "sha256")[:4].hex()
        object.__setattr__(self, "fingerprint_key_id", name)

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """The keys that derive from 32 random bytes."""

        def derive(purpose: str) -> bytes:
            return HKDF(SHA256(), 32, salt=None, info=f"mas/gateway/{purpose}".encode()).derive(secret)

        seal_key = X25519PrivateKey.from_private_bytes(derive("seal"))
        public_key = seal_key.public_key().public_bytes_raw()
        return cls(
            seal_key,
            Ed25519PrivateKey.from_private_bytes(derive("audit")),
            derive("at-rest"),
            derive("mac"),
            derive("fingerprint"),
            derive("decision"),
            derive("owner"),
            public_key,
            key_id_of(public_key),
        )

    @classmethod
    def generate(cls) -> Self:
        """Fresh keys that are kept nowhere."""
        return cls.from_secret(secrets.token_bytes(_SECRET_SIZE))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The keys in a folder, or those that the reference in the file leads to.

        Raises:
            SecretUnavailable: There are none, or the reference leads nowhere.
            ConfigurationError: Others may read the file, or it is not a key.
        """
        path = folder / FILE_NAME
        if not os.path.lexists(path):
            raise SecretUnavailable(
                f"there is no gateway key in {folder}", hint=("mas up", "mas gateway run")
            )
        try:
            secret = bytes.fromhex(read_secret(path))
        except ValueError:
            secret = b""
        if len(secret) != _SECRET_SIZE:
            raise ConfigurationError(f"{path} does not hold a gateway key")
        return cls.from_secret(secret)

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """The keys in a folder; made when there are none, and agreed on when several do so at once.

        Raises:
            ConfigurationError: The folder is not ours, or others may read the file, or it is not a key.
        """
        path = private_dir(folder) / FILE_NAME
        if not os.path.lexists(path):
            secret = secrets.token_bytes(_SECRET_SIZE)
            draft = write_private(folder / f".new-{secrets.token_hex(6)}", secret.hex().encode() + b"\n")
            try:
                # A hard link fails when the name is taken, so whoever comes first decides for all.
                with contextlib.suppress(FileExistsError):
                    os.link(draft, path)
                _sync(folder)
            except OSError as error:
                raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
            finally:
                draft.unlink(missing_ok=True)
        return cls.load(folder)

    def mac(self, purpose: str, data: bytes) -> bytes:
        """HMAC-SHA-256 of `data`; `purpose` keeps kinds of records apart."""
        key = self.mac_key
        if purpose == OWNED:
            key = self.owner_key
        elif purpose.startswith(DECISIONS):
            key = self.decision_key
        return hmac.digest(key, purpose.encode() + b"\x00" + data, "sha256")

    def check_mac(self, purpose: str, data: bytes, mac: bytes) -> bool:
        """Whether `mac` is the MAC of `data` for `purpose`, in constant time."""
        return hmac.compare_digest(self.mac(purpose, data), mac)

    def payload_hmac(self, data: bytes) -> str:
        """Keyed fingerprint of a payload, hex; without the key nobody can guess the payload from it."""
        # Two copies of half-made hashes cost half of what hmac.digest does; this runs for every message.
        inner, outer = self._halves[0].copy(), self._halves[1].copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.hexdigest()

    def field_hmac(self, message_id: str, path: str, value: bytes) -> str:
        """Keyed fingerprint of one leaf of a payload, 32 hex digits.

        The id of the message is part of it, so that nobody without the key sees which messages hold the same.

        Args:
            message_id: The message that holds it.
            path: JSON Pointer of the leaf.
            value: The leaf as canonical JSON.
        """
        return self.payload_hmac(b"\x00".join((b"field", message_id.encode(), path.encode(), value)))[:32]


def _hmac_halves(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    block = key.ljust(64, b"\x00")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in block)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in block)),
    )


def _sync(folder: Path) -> None:
    """Make the name of a new file survive a power cut: what was sealed needs the key again."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
