"""`mas audit check-signature`: who signed a message, checked without trusting a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_core.errors import UsageError

_COLUMNS = (
    Column("seq", kind="number"),
    Column("time", kind="time"),
    Column("message_id", flexible=True),
    Column("sender", header="from"),
    Column("target", header="to"),
    Column("decision"),
    Column("key_id"),
    Column("signature"),
    Column("payload"),
)
_ANSWERS = {None: "not checked", True: "right", False: "wrong"}


async def check_signature(
    call: Invocation,
    message_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the message.")],
    *,
    public_key: Annotated[
        str,
        typer.Option(metavar="HEX", help="The sender's Ed25519 public key; the registry's if left out."),
    ] = "",
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An export as JSON Lines, instead of the running system."),
    ] = None,
    payload: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The exact payload, to check that too.")
    ] = None,
    salt: Annotated[
        str, typer.Option(metavar="HEX", help="The salt that travelled with it; its receiver has it.")
    ] = "",
) -> ExitCode:
    """Check who signed a message, by its audit record and a public key.

    With --file and --public-key it needs neither the system nor its keys. The audit holds a salted digest of the
    payload, so that nobody can guess it; with the salt, which the receiver got, the payload is checked as well.
    """
    from mas_core.ops import signatures

    if (payload is None) != (not salt):
        raise UsageError("--payload and --salt go together")
    try:
        data = None if payload is None else payload.read_bytes()
        raw_salt = bytes.fromhex(salt)
    except OSError as error:
        raise UsageError(f"--payload: {payload} cannot be read: {error.strerror}") from error
    except ValueError:
        raise UsageError("--salt is not hex") from None
    if file is not None:
        if not public_key:
            raise UsageError("--file needs --public-key, since nobody is asked for it")
        records = [(record, public_key) for record in signatures.signed_records_in(file, message_id)]
    else:
        async with open_system(call) as system:
            found = await signatures.signed_records(system, message_id)
            records = [
                (record, public_key or await signatures.public_key_for(system, record)) for record in found
            ]
    checks = [signatures.check(record, key, payload=data, salt=raw_salt) for record, key in records]
    call.out.records(
        _COLUMNS,
        [
            {
                "seq": item.record.seq,
                "time": moment(item.record.time),
                "message_id": item.record.message_id,
                "sender": item.record.sender,
                "target": item.record.target,
                "type": item.record.type,
                "decision": item.record.decision,
                "key_id": item.record.key_id,
                "signature": _ANSWERS[item.is_right],
                "payload": _ANSWERS[item.is_payload],
            }
            for item in checks
        ],
    )
    fine = all(item.is_right and item.is_payload is not False for item in checks)
    return ExitCode.OK if fine else ExitCode.NO
