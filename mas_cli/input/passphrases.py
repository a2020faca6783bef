"""Passphrases: from a private file, or asked for where somebody can be asked; never a flag or a variable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_cli.invocation import Invocation


def passphrase_of(call: Invocation, file: str, *, is_new: bool = False) -> str:
    """The passphrase of a backup.

    Args:
        call: The call.
        file: The private file that holds it; it is asked for when this is empty.
        is_new: It is to be used from now on, so it is asked for twice.

    Raises:
        ConfirmationNeeded: Nobody can be asked.
        UsageError: It is too short, or is not the same twice.
        SecretUnavailable: The file cannot be read, or others may read it.
    """
    from mas_core.ops.backup.sealed_keys import check_passphrase, read_passphrase

    if file:
        return read_passphrase(Path(file).expanduser())
    hint = "--passphrase-file FILE"
    passphrase = check_passphrase(call.ask.secret("Passphrase of the keys in the backup:", hint))
    if is_new and call.ask.secret("The same again:", hint) != passphrase:
        raise UsageError("the two passphrases differ")
    return passphrase
