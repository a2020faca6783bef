"""Certificates, their keys and the authorities that are trusted, as files that others replace while we run.

Whoever writes replaces whole files. A key and a certificate in two files are never replaced at the same moment,
so a pair counts only when the two belong together; until then the former pair goes on.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError, MasError
from mas_core.settings.private_files import MAX_PRIVATE_BYTES, private_dir, read_private, write_private

log = get_logger(__name__)

LOOK_EVERY_S: Final = 1.0
SETTLING_TRIES: Final = 20
SETTLING_S: Final = 0.05
"""How often, and after which pause, a pair that does not match is read again when there is no former one."""

_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n?", re.DOTALL)

Stamp = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one side of a TLS connection shows and trusts."""

    certificate: x509.Certificate
    chain: bytes
    """It and those between it and an authority, in PEM."""
    key: bytes = field(repr=False)
    """Its private key, in PEM."""
    authorities: bytes = b""
    """The certificates of those who are trusted, in PEM; empty where none were named."""


def write_pair(chain: bytes, key: bytes, chain_path: Path, key_path: Path | None = None) -> None:
    """Put a certificate and its key in place: one file when both have the same path, else the key first.

    Folders that are missing are made, for their owner alone; those that are there stay as they are.

    Args:
        chain: The certificate and those between, in PEM.
        key: Its private key, in PEM.
        chain_path: Where the chain goes; with mode 0600, as the key.
        key_path: Where the key goes; to the chain when left out.

    Raises:
        ConfigurationError: A folder does not take it.
    """
    _make_folder(chain_path.parent)
    if key_path is None or key_path == chain_path:
        write_private(chain_path, key + chain)
        return
    _make_folder(key_path.parent)
    write_private(key_path, key)
    write_private(chain_path, chain)


def read_pair(chain_path: Path, key_path: Path | None = None) -> Credentials:
    """A certificate and its key, which belong together.

    Raises:
        SecretUnavailable: The key is not there, or its file is open to others.
        ConfigurationError: A file cannot be read, or the two do not belong together.
    """
    key = _key_in(read_private((key_path or chain_path).resolve()), key_path or chain_path)
    text = _read(chain_path)
    certificates = _certificates_in(text, chain_path)
    if _public_half(key, key_path or chain_path) != certificates[0].public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    ):
        raise ConfigurationError(
            f"the key in {key_path or chain_path} is not that of the certificate in {chain_path}",
            hint=f"mas cert inspect {chain_path}",
            path=str(chain_path),
        )
    chain = b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
    return Credentials(certificates[0], chain, key)


def read_authorities(path: Path) -> list[x509.Certificate]:
    """The certificates of one or several authorities in a file.

    Raises:
        ConfigurationError: It cannot be read, or holds none.
    """
    return _certificates_in(_read(path), path)


class CertificateFiles:
    """The pair and the authorities in files, always as they stand there now; safe to use from several threads.

    Args:
        chain: The certificate in PEM, and those between it and an authority.
        key: Its private key; in the file of the chain when left out.
        authorities: The certificates of those who are trusted; none are read when left out.
    """

    def __init__(self, chain: Path, key: Path | None = None, authorities: Path | None = None) -> None:
        self._chain = chain
        self._key = key or chain
        self._authorities = authorities
        self._paths = tuple(path for path in (chain, self._key, authorities) if path is not None)
        self._lock = threading.Lock()
        self._current: Credentials | None = None
        self._stamp: Stamp | None = None
        self.problem = ""
        """Why the files cannot be used as they stand now, so that the former credentials go on; else empty."""

    def current(self) -> Credentials:
        """The credentials that count now: the very same object until they have changed.

        The first call waits for a pair that is being replaced, a second at most; later ones never wait.

        Raises:
            SecretUnavailable, ConfigurationError: There are none that could be used, and never were.
        """
        with self._lock:
            if self._current is None:
                self._read_first()
            else:
                self._look()
            assert self._current is not None  # noqa: S101 - the first reading succeeds or raises
            return self._current

    async def changes(
        self, since: Credentials | None = None, *, every: float = LOOK_EVERY_S
    ) -> AsyncIterator[Credentials]:
        """The credentials each time that they are others, until cancelled.

        Args:
            since: The ones that the caller has; those of the first look when left out.
            every: Seconds between two looks, each of which is one `stat` for each file.

        Raises:
            SecretUnavailable, ConfigurationError: As for `current`.
        """
        last = since or await asyncio.to_thread(self.current)
        while True:
            found = self.current()
            if found is not last:
                last = found
                yield found
            await asyncio.sleep(every)

    def _read_first(self) -> None:
        for left in reversed(range(SETTLING_TRIES)):
            try:
                self._take()
                return
            except MasError:
                if not left or not all(path.exists() for path in self._paths):
                    raise
                time.sleep(SETTLING_S)

    def _look(self) -> None:
        """Read the files if they have changed."""
        if _stamp_of(self._paths) == self._stamp:
            return
        try:
            self._take()
        except MasError as error:
            if error.message != self.problem:
                self.problem = error.message
                log.warning("certificate.unusable", path=str(self._chain), reason=error.message)

    def _take(self) -> None:
        stamp = _stamp_of(self._paths)
        pair = read_pair(self._chain, self._key)
        trusted = b""
        if self._authorities is not None:
            certificates = read_authorities(self._authorities)
            trusted = b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
        # What was replaced while it was read is read again at the next look.
        self._stamp = stamp if _stamp_of(self._paths) == stamp else None
        self.problem = ""
        found = Credentials(pair.certificate, pair.chain, pair.key, trusted)
        if found != self._current:
            self._current = found


def _make_folder(path: Path) -> None:
    if not path.exists():
        private_dir(path)


def _stamp_of(paths: tuple[Path, ...]) -> Stamp | None:
    """What changes when a file is replaced or written to; None when one is not there."""
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return None
    return tuple((each.st_dev, each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PRIVATE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    if len(text) > MAX_PRIVATE_BYTES:
        raise ConfigurationError(f"{path} is larger than {MAX_PRIVATE_BYTES} bytes", path=str(path))
    return text


def _certificates_in(text: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text)
    except (ValueError, x509.InvalidVersion) as error:
        raise ConfigurationError(f"{path} holds no certificate in PEM", path=str(path)) from error


def _key_in(text: bytes, path: Path) -> bytes:
    found = _KEY.findall(text)
    if len(found) != 1:
        many = "several private keys" if found else "no private key in PEM"
        raise ConfigurationError(f"{path} holds {many}", path=str(path))
    return bytes(found[0])


def _public_half(key: bytes, path: Path) -> bytes:
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{path} holds no private key in PEM without a password", path=str(path)
        ) from error
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
