"""The keys of a system's gateways. They live outside the store and are shared by all its gateways."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.security.tokens import key_id_of

FILE_NAME = "gateway.key"
_SECRET_SIZE = 32


@dataclass(frozen=True, slots=True)
class GatewayKeys:
    """Everything a gateway keeps secret, derived from one random secret by HKDF-SHA-256 (RFC 5869)."""

    seal_key: X25519PrivateKey = field(repr=False)
    audit_key: Ed25519PrivateKey = field(repr=False)
    at_rest_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    fingerprint_key: bytes = field(repr=False)
    public_key: bytes
    """X25519 public key, 32 bytes; part of every token."""
    key_id: str

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
            public_key,
            key_id_of(public_key),
        )

    @classmethod
    def generate(cls) -> Self:
        """Fresh keys that are kept nowhere."""
        return cls.from_secret(secrets.token_bytes(_SECRET_SIZE))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The keys in a folder.

        Raises:
            SecretUnavailable: There are none.
            ConfigurationError: Others may read the file, or it is not a key.
        """
        path = folder / FILE_NAME
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise SecretUnavailable(
                f"there is no gateway key in {folder}", hint=("mas up", "mas gateway run")
            ) from None
        except OSError as error:
            raise ConfigurationError(f"the gateway key {path} cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigurationError(f"others may read {path}", hint=f"chmod 600 {path}")
            text = file.read(4096)
        try:
            secret = bytes.fromhex(text.decode().strip())
        except ValueError:
            secret = b""
        if len(secret) != _SECRET_SIZE:
            raise ConfigurationError(f"{path} does not hold a gateway key")
        return cls.from_secret(secret)

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """The keys in a folder; made when there are none, and agreed on when several do so at once."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / FILE_NAME
        if not path.exists():
            draft = folder / f".{FILE_NAME}.{secrets.token_hex(4)}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_SECRET_SIZE).hex().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            # A hard link fails when the name is taken, so whoever comes first decides for all.
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        return cls.load(folder)

    def mac(self, purpose: str, data: bytes) -> bytes:
        """HMAC-SHA-256 of `data`; `purpose` keeps kinds of records apart."""
        return hmac.digest(self.mac_key, purpose.encode() + b"\x00" + data, "sha256")

    def check_mac(self, purpose: str, data: bytes, mac: bytes) -> bool:
        """Whether `mac` is the MAC of `data` for `purpose`, in constant time."""
        return hmac.compare_digest(self.mac(purpose, data), mac)

    def payload_hmac(self, data: bytes) -> str:
        """Keyed fingerprint of a payload, hex; without the key nobody can guess the payload from it."""
        return hmac.digest(self.fingerprint_key, data, "sha256").hex()
