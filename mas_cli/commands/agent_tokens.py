"""`mas agent token`: new tokens for agents, and the end of old ones."""

from __future__ import annotations

from typing import Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.issued_tokens import check_destination, write_issued
from mas_cli.output.moments import moment

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Id of the agent.")]


async def rotate(
    call: Invocation,
    agent_id: AgentId,
    *,
    overlap: Annotated[str, typer.Option(metavar="DUR", help="How long the old token still counts.")] = "1h",
    expires: Annotated[
        str | None, typer.Option(metavar="DUR", help="How long the new one counts; for ever if left out.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show the token instead of writing it to a file.")
    ] = False,
) -> ExitCode:
    """Make a new token; the old one counts a little longer.

    Restart the agent within the overlap, so that it takes the new token. When the old one ends, what still runs
    with it ends too; the supervisor of mas up then starts it again with the token file of now.
    """
    lasting = parse_duration(overlap, "--overlap")
    seconds = 0 if expires is None else parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops import agents

        check_destination(system.target.tokens_dir, show=show)
        issued = await agents.rotate_token(system, agent_id, overlap=lasting, expires_in=seconds, show=show)
    write_issued(call.out, issued)
    call.talk.say(f"what runs keeps the old one: restart {agent_id} within {overlap}, or it ends then")
    call.talk.say("mas up starts agents that ended so again, with the new one")
    call.talk.say(f"end the old one at once with: mas agent token revoke {agent_id} --key KEY")
    return ExitCode.OK


async def revoke(
    call: Invocation,
    agent_id: AgentId,
    *,
    key: Annotated[
        str, typer.Option(metavar="ID", help="Only the token with this key id; all of them if left out.")
    ] = "",
) -> ExitCode:
    """End an agent's tokens; refused from the next message on."""
    async with open_system(call) as system:
        from mas_core.ops import agents

        revoked = await agents.revoke_token(system, agent_id, key)
    call.out.records(
        (Column("key_id"), Column("agent"), Column("revoked", kind="time")),
        [{"key_id": item.key_id, "agent": agent_id, "revoked": moment(item.revoked)} for item in revoked],
    )
    call.talk.say(f"make a new one with: mas agent token rotate {agent_id}")
    return ExitCode.OK
