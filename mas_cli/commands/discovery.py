"""`mas discover`: who runs and can be talked to."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.input.selectors import matches_all, parse_selectors
from mas_cli.input.sending_flags import OPERATOR, As
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import UsageError

LOOK_SECONDS = 0.25
_FOUND = (
    Column("id", style=lambda _: "name"),
    Column("capabilities"),
    Column("instances", kind="number"),
    Column("load", kind="number"),
    Column("free", kind="number"),
    Column("metadata", flexible=True),
)


async def discover(
    call: Invocation,
    capabilities: Annotated[
        list[str] | None,
        typer.Argument(metavar="CAPABILITY", help="Agents that can do this; all agents if left out."),
    ] = None,
    *,
    match_all: Annotated[
        bool, typer.Option("--all-of/--any", help="Agents with all of the capabilities, or with any.")
    ] = False,
    selector: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="Only with this metadata: k=v, k!=v, k, !k; repeatable."),
    ] = None,
    as_agent: As = OPERATOR,
    best: Annotated[bool, typer.Option("--best", help="Only the one with the least in hand.")] = False,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Only so many, those with the least in hand; 0 for all.")
    ] = 0,
    min_free: Annotated[
        int,
        typer.Option(metavar="N", help="Only those that would begin so many more messages at once."),
    ] = 0,
    require: Annotated[int, typer.Option(metavar="N", help="Exit with 1 if there are fewer.")] = 0,
    wait: Annotated[
        str | None,
        typer.Option(metavar="DUR", help="Wait so long until there are as many as --require says."),
    ] = None,
) -> ExitCode:
    """List running agents that one may talk to.

    --wait without --require waits for one. Load and free are what the agents said with their last heartbeats.
    """
    seconds = 0.0 if wait is None else parse_duration(wait, "--wait")
    if limit < 0 or min_free < 0:
        raise UsageError("--limit and --min-free are not negative")
    least = max(require, 0 if wait is None else 1)
    selectors = parse_selectors(selector or [])
    async with open_system(call) as system:
        from mas_core.ops import messages
        from mas_core.ops.recipients import least_loaded

        end = time.monotonic() + seconds
        async with messages.connected(system, as_agent) as client:
            while True:
                found = await client.discover(capabilities or (), match_all=match_all)
                rows = [
                    row for row in found if matches_all(selectors, _metadata(row)) and _free(row) >= min_free
                ]
                if len(rows) >= least or time.monotonic() >= end:
                    break
                await asyncio.sleep(LOOK_SECONDS)
    count = len(rows)
    if best or limit:
        rows = least_loaded(rows)[: 1 if best else limit]
    call.out.records(_FOUND, rows)
    call.talk.count(f"{count} agents")
    if count < least:
        call.talk.warn(f"{count} agents, and {least} are required")
        return ExitCode.NO
    return ExitCode.OK


def _free(row: dict[str, object]) -> int:
    found = row.get("free")
    return found if isinstance(found, int) else 0


def _metadata(row: dict[str, object]) -> dict[str, object]:
    found = row.get("metadata")
    return found if isinstance(found, dict) else {}
