"""Signed notes and verifier keys, as C2SP specifies them (signed-note, with Ed25519 signatures).

A note is a text of whole lines, an empty line, and a line for each signature. Texts written here hold no empty
line, so a file may hold many notes, one after the other with an empty line between them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mas_core.errors import NoteInvalid

ED25519: Final = b"\x01"
"""The type of a key and of its signatures."""
KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
MAX_NOTE_BYTES: Final = 1_000_000

_HASH_SIZE = 4
_MARK: Final = "— ".encode()
_NAME = re.compile(r"[^\s+\x00-\x1f]{1,200}")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key that signs notes."""

    name: str
    public_key: bytes
    """32 bytes of Ed25519."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that is written as `name+hash+base64`.

        Raises:
            NoteInvalid: It is none, or its hash does not fit.
        """
        name, _, rest = text.strip().partition("+")
        found_hash, _, encoded = rest.partition("+")
        data = _decoded(encoded)
        if _NAME.fullmatch(name) is None or len(data) != 1 + KEY_SIZE or data[:1] != ED25519:
            raise NoteInvalid("this is no Ed25519 verifier key (name+hash+base64)")
        key = cls(name, data[1:])
        if key.hash.hex() != found_hash:
            raise NoteInvalid(f"the hash of the verifier key {name} does not fit its bytes")
        return key

    @property
    def hash(self) -> bytes:
        """The four bytes that stand before each signature of this key."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:_HASH_SIZE]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(ED25519 + self.public_key).decode()}"


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A key that signs notes."""

    name: str
    private_key: Ed25519PrivateKey

    @property
    def public(self) -> VerifierKey:
        """Its public half."""
        return VerifierKey(self.name, self.private_key.public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a note, not checked."""

    name: str
    key_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read; nothing is known of its signatures before `signed_by` says so."""

    text: str
    """With its last line break."""
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: bytes) -> Self:
        """The note in these bytes.

        Raises:
            NoteInvalid: They are none.
        """
        text, found, lines = note.rstrip(b"\n").rpartition(b"\n\n")
        if not found or len(note) > MAX_NOTE_BYTES:
            raise NoteInvalid("a note is a text, an empty line, and signatures")
        try:
            shown = text.decode() + "\n"
        except UnicodeDecodeError:
            raise NoteInvalid("the text of a note is UTF-8") from None
        if any(ord(letter) < 0x20 and letter != "\n" for letter in shown):
            raise NoteInvalid("the text of a note holds no control characters")
        return cls(shown, tuple(_signature(line) for line in lines.split(b"\n")))

    def signed_by(self, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Those of the keys whose signature is on the note and right.

        Raises:
            NoteInvalid: A signature that claims to be by one of them is wrong.
        """
        found = []
        for key in keys:
            for signature in self.signatures:
                if (signature.name, signature.key_hash) == (key.name, key.hash):
                    _check(key, self.text, signature)
                    found.append(key)
                    break
        return found


def sign_note(text: str, signers: Sequence[SignerKey]) -> bytes:
    """The note of a text under the signatures of all `signers`.

    Raises:
        NoteInvalid: The text does not end with a line break, or holds an empty line.
    """
    if not text.endswith("\n") or "\n\n" in text or text.startswith("\n"):
        raise NoteInvalid("the text of a note is made of lines, and none is empty")
    data = text.encode()
    lines = [data + b"\n"]
    for signer in signers:
        signature = base64.b64encode(signer.public.hash + signer.private_key.sign(data))
        lines.append(_MARK + signer.name.encode() + b" " + signature + b"\n")
    return b"".join(lines)


def notes_in(data: bytes) -> Iterator[bytes]:
    """The notes of a file that holds one after the other; what is torn at its end is left out."""
    start = 0
    while (middle := data.find(b"\n\n", start)) >= 0 and (end := data.find(b"\n\n", middle + 2)) >= 0:
        yield data[start : end + 1]
        start = end + 2


def last_note(data: bytes) -> tuple[int, int] | None:
    """Where the last whole note in the end of such a file begins, and where it ends with its empty line.

    Args:
        data: The end of the file, from anywhere: a note that begins at 0 may lack its beginning.
    """
    end = len(data)
    while (end := data.rfind(b"\n\n", 0, end)) >= 0:
        middle = data.rfind(b"\n\n", 0, end)
        if middle < 0:
            return None
        if data.startswith(_MARK, middle + 2):
            before = data.rfind(b"\n\n", 0, middle)
            return (before + 2 if before >= 0 else 0), end + 2
    return None


def _signature(line: bytes) -> Signature:
    name, space, encoded = line.removeprefix(_MARK).partition(b" ")
    data = _decoded(encoded.decode("ascii", "replace"))
    if not line.startswith(_MARK) or not space or len(data) <= _HASH_SIZE:
        raise NoteInvalid("a signature line of a note is not as it should be")
    return Signature(name.decode(errors="replace"), data[:_HASH_SIZE], data[_HASH_SIZE:])


def _check(key: VerifierKey, text: str, signature: Signature) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature.signature, text.encode())
    except InvalidSignature:
        raise NoteInvalid(f"the signature of {key.name} is not of this note") from None


def _decoded(text: str) -> bytes:
    """The bytes of base64; empty when it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
