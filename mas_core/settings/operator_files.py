"""Where the credential of an operator is: a private file, a descriptor or another secret; never an argument."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Final

from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.settings.private_files import MAX_PRIVATE_BYTES
from mas_core.settings.secrets import is_reference, read_secret, resolve

VARIABLE: Final = "MAS_OPERATOR"
"""Names the credential: a path, `fd:NUMBER`, or a reference as `mas_core.settings.secrets` takes them."""

CERTIFICATE_VARIABLE: Final = "MAS_OPERATOR_CERT"
"""Names the file with certificate and key of an operator who is known by one."""


def read_credential_at(place: str) -> bytes:
    """What stands where the credential is said to be.

    Raises:
        SecretUnavailable: It is not there, or open to others.
        ConfigurationError: Nothing can be there.
    """
    kind, colon, rest = place.partition(":")
    if colon and kind == "fd":
        return _read_descriptor(rest)
    if is_reference(place):
        return resolve(place, Path.cwd()).get_secret_value().encode()
    return read_secret(Path(place).expanduser()).encode()


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
