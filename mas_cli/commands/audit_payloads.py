"""`mas audit payload`: a payload of which the policy had a sealed copy kept."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment

_COLUMNS = (
    Column("partition", kind="number"),
    Column("seq", kind="number"),
    Column("time", kind="time"),
    Column("message_id"),
    Column("sender", header="from"),
    Column("target", header="to"),
    Column("type"),
    Column("payload"),
)


async def payload(
    call: Invocation,
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="Id of a message, or number of a record: SEQ or PARTITION:SEQ."),
    ],
    *,
    subject_flag: Annotated[
        str, typer.Option("--subject", metavar="SUBJECT", help="Whom it is about; the sender if left out.")
    ] = "",
) -> ExitCode:
    """Show a payload as it was delivered, from its sealed copy.

    Copies are kept of the types that `audit.payloads` in policy.yaml names, under a key of their subject;
    `mas audit erase` destroys that key. That somebody looked is recorded, without the subject.
    """
    async with open_system(call) as system:
        from mas_core.ops import payload_copies

        found, text = await payload_copies.read(system, identifier, subject=subject_flag)
    record = found.record
    call.out.record(
        _COLUMNS,
        {
            "partition": found.partition,
            "seq": record.seq,
            "time": moment(record.time),
            "message_id": record.message_id,
            "sender": record.sender,
            "target": record.target,
            "type": record.type,
            "payload": msgspec.json.decode(text),
        },
    )
    return ExitCode.OK
