"""Signatures of exports: a note under the key that signs checkpoints, over an export and its manifest.

The note lies beside them and is one as C2SP specifies it (signed-note), so whoever has the public key can check
it without this system. It says which bytes were exported, and nothing more: whether the chain held, and which
checkpoint covers it, stands in the manifest, which it covers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_reader import open_plain
from mas_core.audit.note import MAX_NOTE_BYTES, Note, VerifierKey
from mas_core.errors import NoteInvalid, ProofInvalid, UsageError
from mas_core.ops.evidence import read_keys
from mas_core.ops.notary import checkpoint_keys
from mas_core.ops.system import System

TITLE: Final = "mas audit export"
"""The first line of such a note; no checkpoint and no rotation of keys begins with it."""
_SUFFIX: Final = ".manifest.note"
_CHUNK: Final = 1 << 20
_MAX_MANIFEST_BYTES: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class SignedExport:
    """An export that is what was signed."""

    path: Path
    key: VerifierKey
    """Who signed it."""
    manifest: dict[str, Any]


def signature_path(path: Path) -> Path:
    """Where the signature of an export is."""
    return path.with_name(f"{path.name}{_SUFFIX}")


def signing_keys(system: System) -> CheckpointKeys:
    """The keys that sign exports of a system, usable now.

    Raises:
        KeyNotFound: Nothing was ever signed here.
        SecretUnavailable: The private key is not at hand.
        ConfigurationError: It is another key than the newest public one.
    """
    keys = checkpoint_keys(system.target)
    keys.sign(f"{TITLE}\n")
    return keys


def signature(keys: CheckpointKeys, export_sha256: str, manifest: bytes) -> bytes:
    """The note for an export.

    Args:
        keys: Who signs.
        export_sha256: Of all bytes of the export, hex.
        manifest: Its manifest.
    """
    return keys.sign(_text(export_sha256, hashlib.sha256(manifest).hexdigest()))


def is_signature(path: Path) -> bool:
    """Whether a file claims to be the signature of an export."""
    try:
        with open_plain(path) as file:
            return file.read(len(TITLE) + 1) == f"{TITLE}\n".encode()
    except OSError:
        return False


def check_signature(path: Path, pinned: Sequence[str]) -> SignedExport:
    """Check that the export beside a signature, and its manifest, are what was signed.

    Args:
        path: The signature, `FILE.manifest.note`.
        pinned: Public keys to trust, as text or as names of files.

    Raises:
        ProofInvalid: They are not, or none of these keys signed it.
        UsageError: A file or a key cannot be read.
    """
    if not pinned:
        raise UsageError("a signature is checked with a key that you trust", hint="--key FILE")
    if not path.name.endswith(_SUFFIX):
        raise UsageError(f"{path} has to keep its name, FILE{_SUFFIX}, beside FILE and its manifest")
    export = path.with_name(path.name.removesuffix(_SUFFIX))
    manifest = path.with_name(f"{export.name}.manifest.json")
    try:
        with open_plain(path) as file:
            note = Note.parse(file.read(MAX_NOTE_BYTES + 1))
        signers = note.signed_by(read_keys(pinned))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except NoteInvalid as error:
        raise ProofInvalid(error.message) from None
    if not signers:
        raise ProofInvalid("none of these keys signed it", hint="mas audit key show")
    sums, about = _sums(export, manifest)
    if note.text != _text(*sums):
        names = (export.name, manifest.name)
        changed = [name for name, value in zip(names, sums, strict=True) if value not in note.text]
        raise ProofInvalid(f"{' and '.join(changed) or path.name}: not what was signed")
    return SignedExport(export, signers[0], msgspec.json.decode(about, type=dict[str, Any]))


def _text(export_sha256: str, manifest_sha256: str) -> str:
    return f"{TITLE}\nexport sha256:{export_sha256}\nmanifest sha256:{manifest_sha256}\n"


def _sums(export: Path, manifest: Path) -> tuple[tuple[str, str], bytes]:
    """SHA-256 of both, hex, and the manifest itself."""
    found = hashlib.sha256()
    try:
        with open_plain(export) as file:
            while data := file.read(_CHUNK):
                found.update(data)
        with open_plain(manifest) as file:
            about = file.read(_MAX_MANIFEST_BYTES)
    except OSError as error:
        raise UsageError(f"{error.filename or export} cannot be read: {error.strerror or error}") from error
    return (found.hexdigest(), hashlib.sha256(about).hexdigest()), about
