"""Secrets by reference: a setting says where a secret is, and it is fetched where it is used, never kept.

    env:NAME                      a variable of the environment
    file:PATH                     a file that only its owner can read; relative to the file that says it
    cmd:PROGRAM ARGUMENTS         what a program prints; run without a shell
    azkv://VAULT/NAME[/VERSION]   a secret of Azure Key Vault; needs the extra `azure`
    vault:SOURCE:PLACE            what a plug-in fetches, an entry point SOURCE of the group `mas.secrets`

A URL may be a reference, or hold some: `redis://app:${file:redis.password}@host:6379/0`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr

from mas_core.base.known_secrets import remember
from mas_core.errors import ConfigurationError, MasError, SecretUnavailable
from mas_core.settings.private_files import read_private

SCHEMES: Final = ("env", "file", "cmd", "azkv", "vault")
MAX_SECRET_BYTES: Final = 65_536

_REFERENCE: Final = re.compile(rf"(?:{'|'.join(SCHEMES)}):")
_EMBEDDED: Final = re.compile(r"\$\{([^{}]*)\}")


def is_reference(text: str) -> bool:
    """Whether `text` says where a secret is."""
    return _REFERENCE.match(text) is not None


def holds_reference(text: str) -> bool:
    """Whether `text` is a reference, or a URL that holds one."""
    return is_reference(text) or _EMBEDDED.search(text) is not None


def shown_reference(reference: str) -> str:
    """A reference as messages name it: of a command the program only, since arguments may say too much."""
    scheme, _, place = reference.partition(":")
    if scheme == "env" and not (place.isascii() and place.isidentifier()):
        # Somebody may have put the secret itself there.
        return "env:..."
    if scheme != "cmd":
        return reference[:200]
    words = place.split(maxsplit=1)
    return " ".join(("cmd:" + (words[0] if words else ""), *("..." for _ in words[1:])))


def resolve(reference: str, folder: Path) -> SecretStr:
    """The secret that a reference leads to; its text never shows in `repr` and `str`.

    Args:
        reference: Where it is.
        folder: What relative paths start from, and where commands run.

    Raises:
        SecretUnavailable: It cannot be had; says which and why, never what it is.
        ConfigurationError: It is no reference, or needs a library that is not there.
    """
    if not is_reference(reference):
        # It may be the secret itself, so it is not shown.
        raise ConfigurationError(
            "this is no reference to a secret",
            hint=("env:NAME", "file:PATH", "cmd:PROGRAM ARGUMENTS", "azkv://VAULT/NAME"),
        )
    from mas_core.settings.secret_sources import source_of  # noqa: PLC0415 - slow, and few settings are references

    scheme, _, place = reference.partition(":")
    try:
        value = _checked(source_of(scheme)(place, folder))
    except SecretUnavailable as error:
        raise SecretUnavailable(
            f"the secret {shown_reference(reference)} cannot be had: {error.message}",
            hint=error.hint,
            reference=shown_reference(reference),
        ) from None
    remember(value)
    return SecretStr(value)


def anchored(reference: str, folder: Path) -> str:
    """The reference with the path of a file understood from `folder`."""
    scheme, _, place = reference.partition(":")
    if scheme != "file" or place.startswith("~"):
        return reference
    return f"file:{folder.absolute() / place.removeprefix('//')}"


def filled(text: str, folder: Path) -> str:
    """`text` with what its references lead to, inside of a URL percent-encoded; else as `resolve`."""
    if is_reference(text):
        found = resolve(text, folder).get_secret_value().strip()
        if holds_reference(found):
            # Whoever can write a secret must not get programs run that way.
            raise SecretUnavailable(f"the secret {shown_reference(text)} is a reference itself")
        return found
    return _EMBEDDED.sub(
        lambda found: quote(resolve(found[1], folder).get_secret_value(), safe=""),
        text,
    )


def read_secret(path: Path) -> str:
    """The secret that a private file holds, or that the reference in it leads to.

    Raises:
        SecretUnavailable: The file cannot be used, or the secret cannot be had.
    """
    try:
        text = read_private(path).decode().strip()
    except UnicodeDecodeError:
        raise SecretUnavailable(f"{path} holds no text", path=str(path)) from None
    if not is_reference(text):
        remember(text)
        return text
    try:
        return resolve(text, path.parent).get_secret_value().strip()
    except MasError as error:
        error.details.setdefault("path", str(path))
        raise


def check_own(path: Path) -> None:
    """Make sure that nobody else can change the file at `path`, which makes us read files and run programs.

    Raises:
        ConfigurationError: Somebody can.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    if found.st_uid not in (0, os.getuid()):
        raise ConfigurationError(
            f"{path} belongs to another user, so the references to secrets in it are not followed",
            hint=f"chown {os.getuid()} {path}",
            path=str(path),
        )
    if found.st_mode & 0o022:
        raise ConfigurationError(
            f"others can change {path}, so the references to secrets in it are not followed",
            hint=f"chmod go-w {path}",
            path=str(path),
        )


def _checked(value: str) -> str:
    """A secret without the end of line that files and programs put after it."""
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise SecretUnavailable("it is empty")
    if "\x00" in value:
        raise SecretUnavailable("it holds a zero byte")
    if len(value) > MAX_SECRET_BYTES:
        raise SecretUnavailable(f"it is longer than {MAX_SECRET_BYTES} characters")
    return value
