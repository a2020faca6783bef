"""The part of a backup with private keys and tokens: only on demand, and encrypted under a passphrase.

scrypt (RFC 7914) makes a key of the passphrase, AES-256-GCM seals the files. The costs are fixed, so that a file
cannot ask for more memory than ours do. Keys of subjects whose payloads are kept are never part of it: what is
erased must not come back.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mas_core.errors import BackupInvalid, Conflict, SecretUnavailable, UsageError
from mas_core.security.gateway_keys import FILE_NAME, GatewayKeys
from mas_core.settings.private_files import private_dir, read_private, write_private
from mas_core.settings.secrets import is_reference, resolve, shown_reference

MIN_PASSPHRASE: Final = 8
"""Characters."""
_MAGIC: Final = b"mas keys 1\n"
_COST, _BLOCK, _PARALLEL = 2**17, 8, 1
_SALT_BYTES, _NONCE_BYTES = 16, 12
_NAME: Final = re.compile(r"(keys|tokens)/([A-Za-z0-9][A-Za-z0-9._-]{0,127})")
_OF_THIS_SERVER: Final = frozenset({"server.password"})


class _Files(msgspec.Struct, frozen=True):
    files: dict[str, bytes]


def read_passphrase(path: Path) -> str:
    """The passphrase in a private file: its first line.

    Raises:
        SecretUnavailable: It cannot be read, or others may read it.
        UsageError: It is too short.
    """
    return check_passphrase(read_private(path).decode("utf-8", "replace").partition("\n")[0].rstrip("\r"))


def check_passphrase(passphrase: str) -> str:
    """The passphrase, if it is one.

    Raises:
        UsageError: It is too short.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise UsageError(f"a passphrase has at least {MIN_PASSPHRASE} characters")
    return passphrase


def seal_keys(keys_dir: Path, tokens_dir: Path | None, passphrase: str) -> tuple[bytes, int]:
    """The keys of a system and the tokens at hand, encrypted; and how many files these are.

    Raises:
        SecretUnavailable: A file is open to others.
    """
    files = {
        f"{kind}/{path.name}": read_private(path)
        for kind, folder in (("keys", keys_dir), ("tokens", tokens_dir))
        for path in _files_in(folder)
        if _NAME.fullmatch(f"{kind}/{path.name}") and path.name not in _OF_THIS_SERVER
    }
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    text = msgspec.json.encode(_Files(files))
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, text, _MAGIC)
    return b"".join((_MAGIC, salt, nonce, sealed)), len(files)


def open_keys(sealed: bytes, passphrase: str) -> dict[str, bytes]:
    """The files in an encrypted part, `keys/NAME` and `tokens/NAME`.

    Raises:
        BackupInvalid: The passphrase is another one, or the part was changed.
    """
    begin = len(_MAGIC) + _SALT_BYTES
    try:
        key = AESGCM(_key(passphrase, sealed[len(_MAGIC) : begin]))
        text = key.decrypt(
            sealed[begin : begin + _NONCE_BYTES], sealed[begin + _NONCE_BYTES :], sealed[: len(_MAGIC)]
        )
        found = msgspec.json.decode(text, type=_Files).files
    except (InvalidTag, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise BackupInvalid(
            "the keys in the backup do not open: it is another passphrase, or they were changed"
        ) from error
    if not all(_NAME.fullmatch(name) for name in found):
        raise BackupInvalid("the keys in the backup have names that no key has")
    return found


def gateway_keys_in(files: dict[str, bytes]) -> GatewayKeys:
    """The gateway's keys among opened files, or those that the file refers to.

    Raises:
        BackupInvalid: There are none.
        SecretUnavailable: The secret that the file refers to cannot be had here.
    """
    try:
        text = files[f"keys/{FILE_NAME}"].decode().strip()
        if is_reference(text):
            _check_reference(FILE_NAME, text)
            text = resolve(text, Path.cwd()).get_secret_value()
        return GatewayKeys.from_secret(bytes.fromhex(text))
    except (KeyError, ValueError) as error:
        raise BackupInvalid("the keys in the backup hold no gateway key") from error


def put_keys(files: dict[str, bytes], keys_dir: Path, tokens_dir: Path | None) -> list[Path]:
    """Write opened files where they belong; those that are there already stay.

    Returns:
        What was written.

    Raises:
        Conflict: A file is there and holds something else; nothing was written.
        BackupInvalid: A file would run a program.
    """
    folders = {"keys": keys_dir, "tokens": tokens_dir}
    wanted: list[tuple[Path, bytes]] = []
    for name, content in sorted(files.items()):
        kind, _, file_name = name.partition("/")
        folder = folders[kind]
        if folder is None:
            continue
        _check_reference(file_name, content.decode("utf-8", "replace").strip())
        path = folder / file_name
        if not os.path.lexists(path):
            wanted.append((path, content))
        elif _content(path) != content:
            raise Conflict(
                f"{path} is there and is another key than that of the backup",
                hint=f"mv {path} {path}.before",
                path=str(path),
            )
    for path, content in wanted:
        private_dir(path.parent)
        write_private(path, content)
    return [path for path, _ in wanted]


def _check_reference(file_name: str, text: str) -> None:
    """Whoever made a backup must not get a program run where it is restored."""
    if text.startswith("cmd:"):
        raise BackupInvalid(
            f"{file_name} in the backup would run a program for its secret",
            hint=f"write  {shown_reference(text)}  into {file_name} by hand, if it is what you want",
        )


def _content(path: Path) -> bytes:
    try:
        return read_private(path)
    except SecretUnavailable:
        return b""


def _files_in(folder: Path | None) -> Iterator[Path]:
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if stat.S_ISREG(path.lstat().st_mode):
            yield path


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt, 32, _COST, _BLOCK, _PARALLEL).derive(passphrase.encode())
