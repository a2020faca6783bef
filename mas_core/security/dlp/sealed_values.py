"""Found text that is encrypted instead of taken out: only the holder of a private key can read it.

A token `[SEALED:<key>:<base64url>]` takes its place: HPKE (RFC 9180) with X25519, HKDF-SHA256 and
AES-128-GCM to the named public key, bound to the name of the key and the rule, which stands in front of
the text. The gateway can make tokens and cannot open them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from mas_core.errors import ConfigurationError, DecryptionFailed

TOKEN: Final = re.compile(r"\[SEALED:([a-z0-9][a-z0-9_-]{0,62}):([A-Za-z0-9_-]{66,})\]")

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
_PURPOSE: Final = b"mas/dlp/1/"
_KEY_BYTES: Final = 32


class ValueSealer:
    """Makes tokens for the holders of named keys.

    Raises:
        ConfigurationError: A public key is none.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = {name: _public_key(name, text) for name, text in keys.items()}

    @property
    def names(self) -> Collection[str]:
        """Names of the keys that there are."""
        return self._keys.keys()

    def seal(self, name: str, rule_id: str, text: str) -> str:
        """The token that takes the place of `text`."""
        plain = f"{rule_id}\0{text}".encode()
        return (
            f"[SEALED:{name}:{_encoded(_SUITE.encrypt(plain, self._keys[name], _PURPOSE + name.encode()))}]"
        )


def new_private_key() -> str:
    """A private key as text; to be kept in a private file."""
    return _encoded(X25519PrivateKey.generate().private_bytes_raw())


def public_half(private_key: str) -> str:
    """What goes into the policy.

    Raises:
        ConfigurationError: That is no private key.
    """
    return _encoded(_private_key(private_key).public_key().public_bytes_raw())


def open_tokens(text: str, private_key: str) -> tuple[str, int]:
    """`text` with all tokens that this key opens replaced by what they hold, and how many these are.

    Raises:
        ConfigurationError: That is no private key.
        DecryptionFailed: There are tokens and the key opens none of them.
    """
    key = _private_key(private_key)
    opened = failed = 0

    def plain(found: re.Match[str]) -> str:
        nonlocal opened, failed
        try:
            content = _SUITE.decrypt(_decoded(found[2]), key, _PURPOSE + found[1].encode())
        except (InvalidTag, ValueError):
            failed += 1
            return found[0]
        opened += 1
        return content.decode().partition("\0")[2]

    result = TOKEN.sub(plain, text)
    if failed and not opened:
        raise DecryptionFailed("this key opens none of the sealed values", tokens=failed)
    return result, opened


def _public_key(name: str, text: str) -> X25519PublicKey:
    try:
        return X25519PublicKey.from_public_bytes(_decoded(text))
    except ValueError as error:
        raise ConfigurationError(
            f"the key {name!r} is no X25519 public key in base64url", hint="mas dlp key"
        ) from error


def _private_key(text: str) -> X25519PrivateKey:
    try:
        return X25519PrivateKey.from_private_bytes(_decoded(text.strip()))
    except ValueError as error:
        raise ConfigurationError("that is no X25519 private key in base64url", hint="mas dlp key") from error


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
