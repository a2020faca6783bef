"""The file of a backup: a zip archive with a part of JSON lines for each kind of thing, a manifest, and its MAC.

Whoever reads one trusts nothing: names and sizes are bounded before anything is unpacked, the manifest counts only
with its MAC, and each part only with the size and the digest that the manifest gives. Nothing is ever unpacked to
a path that the file names.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Final, Self, cast

import msgspec

from mas_core.audit.evidence_reader import open_plain
from mas_core.errors import BackupInvalid, NotFound
from mas_core.ops.backup.contents import (
    FORMAT,
    LINES,
    MAC_PURPOSE,
    PARTS,
    VERSION,
    Line,
    Manifest,
    Part,
    PartFacts,
)
from mas_core.registry.signed import MAC_SIZE, Macs

MANIFEST_NAME: Final = "manifest.json"
MAC_NAME: Final = "manifest.mac"
KEYS_NAME: Final = "keys.sealed"
MAX_MANIFEST_BYTES: Final = 64 << 20
MAX_LINE_BYTES: Final = 32 << 20
"""A message has at most a megabyte, and is sealed and written in base64 here."""
MAX_KEYS_BYTES: Final = 64 << 20
_MAX_DIRECTORY_BYTES: Final = 1 << 16
_CHUNK: Final = 1 << 20
_LEVEL: Final = 1
_END: Final = struct.Struct("<4s4H2LH")
_LARGE_END: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_SIZE: Final = 20
_DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError,
)  # fmt: skip

_manifest_of = msgspec.json.Decoder(Manifest).decode


def part_name(part: Part) -> str:
    """What a part is called in the file."""
    return f"{part}.jsonl"


class BackupWriter:
    """Writes the parts of a backup one after the other, and then the manifest over them; a context manager.

    Args:
        file: Where to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self.parts: dict[str, PartFacts] = {}

    @contextmanager
    def part(self, part: Part) -> Iterator[Callable[[Line], None]]:
        """Open a part; gives what adds a line to it."""
        digest, lines, size = hashlib.sha256(), 0, 0
        encode = msgspec.json.Encoder().encode
        with self._zip.open(_entry(part_name(part)), "w", force_zip64=True) as member:

            def add(line: Line) -> None:
                nonlocal lines, size
                text = encode(line) + b"\n"
                lines, size = lines + 1, size + len(text)
                digest.update(text)
                member.write(text)

            yield add
        self.parts[part] = PartFacts(lines, size, digest.hexdigest())

    def add_keys(self, sealed: bytes) -> PartFacts:
        """Add the encrypted part with keys and tokens."""
        self._zip.writestr(_entry(KEYS_NAME), sealed)
        return PartFacts(1, len(sealed), hashlib.sha256(sealed).hexdigest())

    def finish(self, manifest: Manifest, macs: Macs) -> None:
        """Add the manifest with its MAC."""
        text = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
        self._zip.writestr(_entry(MANIFEST_NAME), text)
        self._zip.writestr(_entry(MAC_NAME), macs.mac(MAC_PURPOSE, text))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._zip.close()
        except (OSError, ValueError):
            # What is not complete is thrown away by whoever opened the file.
            if error is None:
                raise


class BackupReader:
    """Reads a backup; use it as a context manager.

    Args:
        path: The file.

    Raises:
        NotFound: There is no such file.
        BackupInvalid: It is no backup.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = open_plain(path)
        except FileNotFoundError:
            raise NotFound(f"there is no backup {path}", hint="mas backup list", path=str(path)) from None
        except OSError as error:
            raise self._invalid(f"it cannot be read: {error.strerror or error}") from error
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        try:
            _check_directory(self._file)
            self._zip = zipfile.ZipFile(self._file)
        except _DAMAGED as error:
            raise self._invalid(f"it is no backup, or was cut off ({error})") from error
        known = {MANIFEST_NAME, MAC_NAME, KEYS_NAME, *map(part_name, PARTS)}
        names = self._zip.namelist()
        if len(names) != len(set(names)) or not set(names) <= known:
            raise self._invalid("it holds files that no backup has")
        self.manifest_text = self._whole(MANIFEST_NAME, MAX_MANIFEST_BYTES)
        self._mac = self._whole(MAC_NAME, MAC_SIZE)
        try:
            self.claimed = _manifest_of(self.manifest_text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self._invalid("its manifest cannot be read") from error
        if self.claimed.format != FORMAT or self.claimed.version != VERSION:
            raise self._invalid(f"its format is {self.claimed.format[:40]!r}, version {self.claimed.version}")

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._file.fileno()).st_size

    def manifest(self, macs: Macs, key_id: str) -> Manifest:
        """The manifest, once it is known to be ours.

        Args:
            macs: The keys of the system's gateways.
            key_id: Their id.

        Raises:
            BackupInvalid: It was made with other keys, or changed.
        """
        if macs.check_mac(MAC_PURPOSE, self.manifest_text, self._mac):
            return self.claimed
        if self.claimed.gateway_key != key_id:
            raise self._invalid(
                f"it was made with the gateway key {self.claimed.gateway_key[:40]!r}, and this system has {key_id}",
                "mas backup restore FILE --keys, where it holds the keys",
            )
        raise self._invalid("it does not carry the MAC of this system's gateway key: it was changed")

    def lines(self, part: Part, manifest: Manifest) -> Iterator[Line]:
        """The lines of a part; that they are all and unchanged is known once the last one was given.

        Raises:
            BackupInvalid: They are not what the manifest says.
        """
        facts = manifest.parts.get(part)
        if facts is None:
            raise self._invalid(f"it lacks the part {part}")
        digest, lines, size = hashlib.sha256(), 0, 0
        decode = msgspec.json.Decoder(LINES[part]).decode
        try:
            with (
                self._member(part_name(part)) as packed,
                io.BufferedReader(cast("io.RawIOBase", packed), _CHUNK) as member,
            ):
                while text := member.readline(min(MAX_LINE_BYTES, facts.bytes - size + 1)):
                    lines, size = lines + 1, size + len(text)
                    digest.update(text)
                    if size > facts.bytes or lines > facts.lines or not text.endswith(b"\n"):
                        break
                    yield decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._invalid(f"line {lines} of its part {part} cannot be read") from error
        except _DAMAGED as error:
            raise self._invalid(f"its part {part} cannot be read ({error})") from error
        if (lines, size, digest.hexdigest()) != (facts.lines, facts.bytes, facts.sha256):
            raise self._invalid(f"its part {part} is not what was written")

    @property
    def has_keys(self) -> bool:
        """Whether there is an encrypted part."""
        return KEYS_NAME in self._zip.namelist()

    def sealed_keys(self) -> bytes:
        """The encrypted part.

        Raises:
            BackupInvalid: There is none, or it is too long.
        """
        return self._whole(KEYS_NAME, MAX_KEYS_BYTES)

    def check_keys(self, manifest: Manifest) -> None:
        """Compare the encrypted part with the manifest.

        Raises:
            BackupInvalid: It is another one.
        """
        sealed = self.sealed_keys() if self.has_keys else b""
        found = PartFacts(1, len(sealed), hashlib.sha256(sealed).hexdigest()) if sealed else None
        if found != manifest.keys:
            raise self._invalid("its keys are not what was written")

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _whole(self, name: str, most: int) -> bytes:
        try:
            with self._member(name) as member:
                text = member.read(most + 1)
        except _DAMAGED as error:
            raise self._invalid(f"its {name} cannot be read ({error})") from error
        if len(text) > most:
            raise self._invalid(f"its {name} is too long")
        return text

    def _member(self, name: str) -> IO[bytes]:
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            raise self._invalid(f"it lacks {name}") from None
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise self._invalid(f"its {name} is packed in a way that no backup is")
        return self._zip.open(info)

    def _invalid(self, why: str, hint: str = "mas backup list") -> BackupInvalid:
        return BackupInvalid(f"{self.path} cannot be used: {why}", hint=hint, path=str(self.path))


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without the local clock: the time of a backup stands in its manifest."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _check_directory(file: BinaryIO) -> None:
    """Refuse a list of contents that is longer than any of ours, before it is read into memory."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _LARGE_END.size - _LOCATOR_SIZE - _END.size))
    text = file.read()
    file.seek(0)
    if len(text) < _END.size:
        raise zipfile.BadZipFile("it is too short")
    signature, _, _, _, entries, size, _, comment = _END.unpack(text[-_END.size :])
    if signature == b"PK\5\6" and not comment:
        large = text[: _LARGE_END.size]
        if text[len(large) :].startswith(b"PK\6\7"):
            # Of an archive of more than 4 GB: what stands here counts, too.
            fields = _LARGE_END.unpack(large)
            entries, size = max(entries, *fields[6:8]), max(size, fields[8])
        if entries <= len(PARTS) + 3 and size <= _MAX_DIRECTORY_BYTES:
            return
    raise zipfile.BadZipFile("its list of contents is none of ours")
