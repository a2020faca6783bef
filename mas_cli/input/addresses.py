"""Flags that say where to listen."""

from __future__ import annotations

from mas_core.errors import UsageError
from mas_core.settings.health_settings import Address, read_address


def listen_address(text: str, flag: str, *, allow_remote: bool) -> Address | None:
    """The address in the value of a flag; None when the flag was not given.

    Raises:
        UsageError: It is none, or other machines would reach it and that is not allowed.
    """
    if not text:
        return None
    try:
        return read_address(text, allow_remote=allow_remote)
    except ValueError as error:
        message, _, hint = str(error).partition("\n")
        raise UsageError(f"{flag}: {message}", hint=hint) from None
