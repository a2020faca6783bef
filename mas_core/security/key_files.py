"""Key pairs for end-to-end encryption that do not derive from a token: the private half in a private file.

Files are PKCS #8 (RFC 5958) in PEM, not encrypted, with mode 0600: whoever can read them can read what is
encrypted for the agent. The registry gets the public half.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from mas_core.errors import ConfigurationError
from mas_core.model.registration import DecryptionKey
from mas_core.security.encryption import PrivateKey, PublicKey
from mas_core.security.tokens import key_id_of
from mas_core.settings.private_files import read_private, write_private

Kind: TypeAlias = Literal["x25519", "rsa"]
KINDS: Final = ("x25519", "rsa")
RSA_BITS: Final = 3072
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""Larger keys would let one agent make everybody who encrypts for it slow."""


def new_private_key(kind: Kind) -> PrivateKey:
    """A fresh key pair."""
    if kind == "rsa":
        return generate_private_key(65537, RSA_BITS)
    return X25519PrivateKey.generate()


def public_half(key: PrivateKey | PublicKey, *, created: int, expires: int = 0) -> DecryptionKey:
    """What the registry holds of a key pair; times in Unix milliseconds.

    Raises:
        ConfigurationError: It is an RSA key of a length that is not taken.
    """
    public = key.public_key() if isinstance(key, X25519PrivateKey | RSAPrivateKey) else key
    if isinstance(public, RSAPublicKey) and not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        raise ConfigurationError(
            f"an RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits here, not {public.key_size}"
        )
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    kind = "rsa" if isinstance(public, RSAPublicKey) else "x25519"
    return DecryptionKey(key_id_of(der), kind, base64.b64encode(der).decode(), created, expires)


def public_key_of(key: DecryptionKey) -> PublicKey:
    """The public key that the registry holds.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return _of_a_kind(load_der_public_key(base64.b64decode(key.public_key)))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"the registry holds no usable key as {key.key_id}") from error


def public_bytes(key: PublicKey) -> bytes:
    """The bytes that a fingerprint is of: 32 of X25519, the DER of RSA."""
    if isinstance(key, X25519PublicKey):
        return key.public_bytes_raw()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(public_key: bytes) -> str:
    """SHA-256 of a public key, hex: what people compare and what agents pin."""
    return hashlib.sha256(public_key).hexdigest()


def write_private_key(path: Path, key: PrivateKey) -> Path:
    """Keep a private key in a file that only its owner can read."""
    return write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def read_private_key(path: Path) -> PrivateKey:
    """The private key in a file.

    Raises:
        SecretUnavailable: The file is not there, or open to others.
        ConfigurationError: It holds no RSA or X25519 key in the clear.
    """
    try:
        key = load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path} holds no private key in PEM without a password") from error
    if not isinstance(key, X25519PrivateKey | RSAPrivateKey):
        raise ConfigurationError(f"{path} holds neither an RSA nor an X25519 key")
    return key


def read_public_key(text: bytes, name: str) -> PublicKey:
    """The public key in PEM.

    Raises:
        ConfigurationError: It is no RSA or X25519 key; `name` says whose text it is.
    """
    try:
        return _of_a_kind(load_pem_public_key(text))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{name} holds no public RSA or X25519 key in PEM") from error


def key_files(tokens_dir: Path | None, agent_id: str) -> list[Path]:
    """The files with private keys of an agent beside its token."""
    return sorted(tokens_dir.glob(f"{agent_id}.*.pem")) if tokens_dir is not None else []


def key_file(tokens_dir: Path, agent_id: str, key_id: str) -> Path:
    """Where the private half of an agent's key is kept unless somebody says otherwise."""
    return tokens_dir / f"{agent_id}.{key_id}.pem"


def load_private_keys(paths: Sequence[Path]) -> dict[str, PrivateKey]:
    """Key id -> private key of each of these files.

    Raises:
        SecretUnavailable, ConfigurationError: One of them cannot be used.
    """
    keys = [read_private_key(path) for path in paths]
    return {public_half(key, created=0).key_id: key for key in keys}


def _of_a_kind(key: object) -> PublicKey:
    if not isinstance(key, X25519PublicKey | RSAPublicKey):
        raise ValueError("the key is of another kind")  # noqa: TRY004 - as for every other text that is no key
    return key
