"""`mas audit fingerprint`: which recorded messages held a value, by their keyed fingerprints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
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
    Column("path", flexible=True),
    Column("hmac_key"),
)


async def fingerprint(
    call: Invocation,
    identifier: Annotated[
        str, typer.Argument(metavar="[ID]", help="Only the records of this message; all if left out.")
    ] = "",
    *,
    value: Annotated[
        str, typer.Option(metavar="JSON", help="The value as JSON; without --path the whole payload as sent.")
    ],
    path: Annotated[
        str | None,
        typer.Option(metavar="POINTER", help="Where it stood, such as /customer/id; * for anywhere."),
    ] = None,
) -> ExitCode:
    """Tell which recorded messages held a value; exit code 1 when none did.

    Needs the gateway's keys. Leaves have fingerprints where `audit.fingerprints` in policy.yaml says `fields`
    for the message's type; payloads as a whole always have one.
    """
    async with open_system(call) as system:
        from mas_core.ops import fingerprints

        async def rows() -> AsyncIterator[Record]:
            found = fingerprints.matching(system, value.encode(), path=path, identifier=identifier)
            async for stored, place in found:
                record = stored.record
                yield {
                    "partition": stored.partition,
                    "seq": record.seq,
                    "time": moment(record.time),
                    "message_id": record.message_id,
                    "sender": record.sender,
                    "target": record.target,
                    "type": record.type,
                    "path": place,
                    "hmac_key": record.hmac_key,
                }

        count = await call.out.listed(_COLUMNS, rows())
    call.talk.count("1 record held it" if count == 1 else f"{count} records held it")
    return ExitCode.OK if count else ExitCode.NO
