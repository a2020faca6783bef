"""The keys that sign checkpoints: Ed25519, the private halves in private files outside of the store.

`audit-<n>.key` in the folder of keys is the private key after `n` rotations, `audit.pub` in the evidence folder
holds the public keys, the oldest first, and `rotations` a note for each rotation under the signatures of the old
and the new key, so that whoever pinned the first key can follow. A key that is gone is never replaced silently.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mas_core.audit.durable_files import append_durably, sync_folder
from mas_core.audit.note import Note, SignerKey, VerifierKey, sign_note
from mas_core.errors import ConfigurationError, NoteInvalid, SecretUnavailable
from mas_core.settings.file_locks import file_lock
from mas_core.settings.private_files import private_dir, write_private
from mas_core.settings.secrets import read_secret

PUBLIC_FILE: Final = "audit.pub"
ROTATIONS_FILE: Final = "rotations"
SYSTEM_FILE: Final = "system"
ROTATION_TITLE: Final = "mas audit key rotation"

_LOCK_FILE = "keys.lock"


class CheckpointKeys:
    """The keys of one evidence folder; made on first use.

    Args:
        folder: The evidence folder.
        keys_dir: Where the private keys are.
        namespace: Of the system; part of the keys' name.

    Raises:
        SecretUnavailable: The folder has checkpoints, and no key is left.
        ConfigurationError: The folder is another system's, or cannot be used.
    """

    def __init__(self, folder: Path, keys_dir: Path, namespace: str) -> None:
        self._folder = private_dir(folder)
        self._keys_dir = private_dir(keys_dir)
        self._namespace = namespace
        self._signer: SignerKey | None = None
        self._stamp: tuple[int, int, int] | None = None
        with file_lock(self._folder / _LOCK_FILE):
            if not self._public_path.exists():
                self._establish()
        self.public: tuple[VerifierKey, ...] = self._read_public()
        """The public keys, the oldest first."""

    @property
    def name(self) -> str:
        """`<namespace>/<system id>/audit`: the keys' name, and the origin of checkpoints but for the partition."""
        return self.public[0].name

    @property
    def _public_path(self) -> Path:
        return self._folder / PUBLIC_FILE

    def sign(self, text: str) -> bytes:
        """The note of a text under the newest key.

        Raises:
            SecretUnavailable: The key is gone, or others can read it.
            ConfigurationError: It is another key than the newest public one.
        """
        return sign_note(text, [self._current()])

    def is_signed(self, note: Note) -> bool:
        """Whether one of the keys signed a note."""
        try:
            return bool(note.signed_by(self.public))
        except NoteInvalid:
            return False

    def rotate(self, *, is_old_lost: bool = False) -> VerifierKey:
        """Make a new key; checkpoints are signed with it from the next one on.

        Args:
            is_old_lost: The old key is gone and cannot sign for the new one: verifiers have to pin that anew.

        Raises:
            SecretUnavailable: The old key cannot be used.
        """
        with file_lock(self._folder / _LOCK_FILE):
            self.public = self._read_public()
            signers = [] if is_old_lost else [self._current()]
            number = len(self.public)
            path = self._private_path(number)
            # One that is there already is of a rotation that was interrupted.
            key = self._read_private(path) if path.exists() else self._make_private(path)
            new = SignerKey(self.name, key)
            text = f"{ROTATION_TITLE}\n{new.public}\n"
            append_durably(self._folder / ROTATIONS_FILE, sign_note(text, [*signers, new]) + b"\n")
            self._write_public((*self.public, new.public))
        self.public = self._read_public()
        return new.public

    def _current(self) -> SignerKey:
        path = self._private_path(len(self.public) - 1)
        stamp = self._stamp_of(path)
        if self._signer is None or stamp != self._stamp:
            self.public = self._read_public()
            path = self._private_path(len(self.public) - 1)
            signer = SignerKey(self.name, self._read_private(path))
            if signer.public != self.public[-1]:
                raise ConfigurationError(
                    f"{path} is another key than the newest in {self._public_path}", path=str(path)
                )
            self._signer, self._stamp = signer, self._stamp_of(path)
        return self._signer

    def _stamp_of(self, path: Path) -> tuple[int, int, int]:
        """What changes when a key is rotated, replaced, or opened to others."""
        try:
            key, public = path.lstat(), self._public_path.lstat()
        except OSError:
            return (0, 0, 0)
        return key.st_ctime_ns, public.st_mtime_ns, key.st_mode

    def _establish(self) -> None:
        """Write what the folder lacks: from the keys that are there, or with the first key of all."""
        if not (first := self._private_path(0)).exists():
            if any(self._folder.glob("p*/checkpoints")):
                raise SecretUnavailable(
                    f"{self._folder} has checkpoints, but neither {PUBLIC_FILE} nor a key is there",
                    hint=f"put back {first} and {self._public_path}",
                )
            self._make_private(first)
        keys: list[bytes] = []
        while (path := self._private_path(len(keys))).exists():
            keys.append(self._read_private(path).public_key().public_bytes_raw())
        name = f"{self._namespace}/{hashlib.sha256(keys[0]).hexdigest()[:16]}/audit"
        write_private(self._folder / SYSTEM_FILE, name.split("/")[1].encode() + b"\n")
        self._write_public(tuple(VerifierKey(name, key) for key in keys))

    def _read_public(self) -> tuple[VerifierKey, ...]:
        try:
            lines = self._public_path.read_text().split()
            keys = tuple(VerifierKey.parse(line) for line in lines)
        except (OSError, UnicodeDecodeError, NoteInvalid) as error:
            raise ConfigurationError(f"{self._public_path} cannot be used: {error}") from error
        if not keys or not keys[0].name.startswith(f"{self._namespace}/"):
            raise ConfigurationError(
                f"{self._folder} is the evidence of another system", path=str(self._folder)
            )
        return keys

    def _write_public(self, keys: tuple[VerifierKey, ...]) -> None:
        write_private(self._public_path, "".join(f"{key}\n" for key in keys).encode())
        sync_folder(self._folder)

    def _private_path(self, number: int) -> Path:
        return self._keys_dir / f"audit-{number}.key"

    def _make_private(self, path: Path) -> Ed25519PrivateKey:
        key = Ed25519PrivateKey.generate()
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        sync_folder(path.parent)
        return key

    @staticmethod
    def _read_private(path: Path) -> Ed25519PrivateKey:
        try:
            key = load_pem_private_key(read_secret(path).encode(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(f"{path} holds no private key in PEM", path=str(path)) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(f"{path} holds no Ed25519 key", path=str(path))
        return key
