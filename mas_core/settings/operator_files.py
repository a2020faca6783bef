"""Where the credential of an operator is: a private file, an open descriptor or a variable; never an argument."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.settings.private_files import MAX_PRIVATE_BYTES, read_private

VARIABLE: Final = "MAS_OPERATOR"
"""Names the credential, as `file:PATH`, `fd:NUMBER`, `env:NAME` or the path alone."""


def read_reference(reference: str, environ: Mapping[str, str] = os.environ) -> bytes:
    """What a reference leads to.

    Raises:
        SecretUnavailable: It is not there, or open to others.
        ConfigurationError: This is no reference.
    """
    kind, colon, rest = reference.partition(":")
    if colon and kind == "env":
        if not environ.get(rest):
            raise SecretUnavailable(f"the variable {rest} is not set, which {VARIABLE} names")
        return environ[rest].encode()
    if colon and kind == "fd":
        return _read_descriptor(rest)
    return read_private(Path(rest if colon and kind == "file" else reference).expanduser())


@functools.cache
def _read_descriptor(number: str) -> bytes:
    """What comes from a descriptor; it can be read once alone."""
    if not number.isascii() or not number.isdecimal():
        raise ConfigurationError(
            f"fd:{number} names no descriptor", hint=f"{VARIABLE}=fd:3 mas status 3<FILE"
        )
    found = b""
    try:
        while len(found) <= MAX_PRIVATE_BYTES and (part := os.read(int(number), 65536)):
            found += part
    except (OSError, OverflowError):
        raise SecretUnavailable(f"the descriptor {number} cannot be read, which {VARIABLE} names") from None
    return found
