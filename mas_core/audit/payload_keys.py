"""Keys under which copies of payloads are sealed: one for each subject, so that one can be forgotten for good.

The copies lie wherever they lie, in backups too; without the key nobody reads them, and the audit chain, which has
only digests of sealed copies, stays as it is. Keys are random, lie in private files outside of the store, and are
named by a keyed hash, so that the folder does not tell whose keys it holds. A destroyed key is overwritten and
unlinked; file systems and disks may keep old blocks, so backups of this folder have to be destroyed as well.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mas_core.audit.durable_files import sync_folder
from mas_core.errors import ConfigurationError, DecryptionFailed, UsageError
from mas_core.settings.file_locks import file_lock
from mas_core.settings.private_files import private_dir, read_private, write_private

FOLDER_NAME: Final = "payloads"
"""Name of the folder beside the gateway's keys."""
MAX_SUBJECT: Final = 200
"""Characters of a subject at most."""

_NAMING_FILE = "naming.key"
_LOCK_FILE = "keys.lock"
_KEY_SIZE = 32
_ID_SIZE = 8
_NONCE_SIZE = 12


@dataclass(frozen=True, slots=True)
class PayloadKey:
    """The key of one subject."""

    key_id: str
    """16 hex digits, chosen by chance; in the record of each payload that is sealed under the key."""
    key: bytes = field(repr=False)

    def seal(self, payload: bytes, bound: bytes) -> bytes:
        """The payload under AES-256-GCM.

        Args:
            payload: What is to be sealed.
            bound: What the copy belongs to, such as the id of its message; has to be given to open it.
        """
        nonce = secrets.token_bytes(_NONCE_SIZE)
        return nonce + AESGCM(self.key).encrypt(nonce, payload, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes:
        """What `seal` was given.

        Raises:
            DecryptionFailed: It is sealed under another key, belongs to something else, or was changed.
        """
        try:
            return AESGCM(self.key).decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], bound)
        except (InvalidTag, ValueError):
            raise DecryptionFailed("the copy of the payload does not open under this key") from None


class PayloadKeys:
    """The keys of one system's subjects; gateways and operators share the folder.

    Args:
        folder: Where the keys are, such as `.mas/keys/payloads`; made when it is not there.

    Raises:
        ConfigurationError: The folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = private_dir(folder)
        with file_lock(self._folder / _LOCK_FILE):
            path = folder / _NAMING_FILE
            if not path.exists():
                write_private(path, secrets.token_hex(_KEY_SIZE).encode() + b"\n")
                sync_folder(folder)
        self._naming_key = read_private(path).strip()

    def find(self, subject: str) -> PayloadKey | None:
        """The key of a subject; None when it has none, or none any more.

        Raises:
            UsageError: This cannot be a subject.
            SecretUnavailable, ConfigurationError: Others can read the file, or it is no key.
        """
        return self._read(self._path(subject))

    def key_for(self, subject: str) -> PayloadKey:
        """The key of a subject; made, and on the disk when this returns, where it has none.

        Raises:
            UsageError: This cannot be a subject.
            SecretUnavailable, ConfigurationError: Others can read the file, it is no key, or the disk is full.
        """
        path = self._path(subject)
        found = self._read(path)
        if found is not None:
            return found
        with file_lock(self._folder / _LOCK_FILE):
            found = self._read(path)
            if found is None:
                found = PayloadKey(secrets.token_hex(_ID_SIZE), secrets.token_bytes(_KEY_SIZE))
                private_dir(path.parent)
                write_private(path, f"{found.key_id} {found.key.hex()}\n".encode())
                sync_folder(path.parent)
                sync_folder(self._folder)
        return found

    def destroy(self, subject: str) -> str:
        """Destroy the key of a subject, so that nothing that was sealed under it can be read again.

        What is sealed for the subject afterwards gets a new key.

        Returns:
            The id of the key; empty when there was none.

        Raises:
            UsageError: This cannot be a subject.
            ConfigurationError: It could not be destroyed; it may be there still.
        """
        path = self._path(subject)
        with file_lock(self._folder / _LOCK_FILE):
            key_id = ""
            with contextlib.suppress(ConfigurationError):
                found = self._read(path)
                key_id = found.key_id if found is not None else ""
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return ""
            except OSError as error:
                raise ConfigurationError(
                    f"{path} cannot be destroyed: {error.strerror}", path=str(path)
                ) from error
            try:
                os.write(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
                os.fsync(descriptor)
                path.unlink()
                sync_folder(path.parent)
            except OSError as error:
                raise ConfigurationError(
                    f"{path} cannot be destroyed: {error.strerror}", path=str(path)
                ) from error
            finally:
                os.close(descriptor)
        return key_id or "unreadable"

    def _path(self, subject: str) -> Path:
        if not 0 < len(subject) <= MAX_SUBJECT or any(ord(letter) < 0x20 for letter in subject):
            raise UsageError(f"a subject is a text of at most {MAX_SUBJECT} characters, without line breaks")
        name = hmac.digest(self._naming_key, subject.encode("utf-8", "surrogatepass"), "sha256").hex()
        return self._folder / name[:2] / f"{name[2:34]}.key"

    @staticmethod
    def _read(path: Path) -> PayloadKey | None:
        if not os.path.lexists(path):
            return None
        key_id, _, text = read_private(path).decode("ascii", "replace").strip().partition(" ")
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != _KEY_SIZE or len(key_id) != 2 * _ID_SIZE:
            raise ConfigurationError(f"{path} holds no key of payloads", path=str(path))
        return PayloadKey(key_id, key)
