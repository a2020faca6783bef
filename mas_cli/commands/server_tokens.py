"""`mas server token`: what says who an agent is where a proxy ends its TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment

_COLUMNS = (
    Column("agent", style=lambda _: "name"),
    Column("id"),
    Column("ends", kind="time"),
    Column("file", flexible=True, usual=""),
    Column("token", flexible=True, usual=""),
)


async def token(
    call: Invocation,
    agent_id: Annotated[str, typer.Argument(metavar="AGENT", help="Id of the agent.")],
    *,
    expires: Annotated[str, typer.Option(metavar="DUR", help="How long it counts, 30 days at most.")] = "1h",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where it goes, with mode 0600; .mas/tokens/AGENT.bearer if left out."
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show the token instead of writing it to a file.")
    ] = False,
) -> ExitCode:
    """Make a bearer token for an agent that comes through a proxy which ends TLS.

    Servers take it only where server_bearer_addr of mas.yaml is set, an address of their own machine. It counts for
    this agent until it ends, the agent is deleted, or mas cert revoke --serial ID. Whoever has it is the agent,
    so certificates are the better choice where they can be had.
    """
    seconds = parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops.bearer_tokens import issue_bearer_token

        issued = await issue_bearer_token(system, agent_id, lifetime=seconds, out=out, show=show)
    row: dict[str, object] = {
        "agent": agent_id,
        "id": issued.id,
        "ends": moment(issued.ends),
        "file": str(issued.path or ""),
        "token": issued.text,
    }
    call.out.records(_COLUMNS, [row])
    if show:
        call.talk.warn("whoever reads this token is the agent until it ends; it is kept nowhere")
    call.talk.say(f"end it before with: mas cert revoke --serial {issued.id}")
    return ExitCode.OK
