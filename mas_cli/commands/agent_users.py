"""`mas agent provision`: a user of the server for an agent that comes to it itself."""

from __future__ import annotations

from typing import Annotated

import typer

from mas_cli.connection import open_as_admin
from mas_cli.invocation import Invocation
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.server_user_rows import USER_COLUMNS, say_kept, user_row
from mas_core.errors import UsageError

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Id of the agent.")]


async def provision(
    call: Invocation,
    agent_id: AgentId,
    *,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new password; connections with the old one end.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the user; its connections end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the user and its rules without making it.")
    ] = False,
) -> ExitCode:
    """Give an agent a user of the server of its own, with just the rights that it needs.

    The login goes to a private file (mode 0600) beside the agent's token, where programs of the project find it,
    and nowhere else; the server gets a hash. Run it again when rules let the agent subscribe to other topics.
    """
    if rotate and remove:
        raise UsageError("--rotate and --remove exclude each other")
    async with open_as_admin(call) as system:
        from mas_core.ops import server_users

        if dry_run:
            planned = await server_users.agent_user(system, agent_id)
            call.out.record(USER_COLUMNS, user_row(planned))
            call.talk.say("nothing was changed")
            return ExitCode.OK
        if remove:
            applied = await server_users.unprovision(system, agent_id)
        else:
            applied = await server_users.provision(system, [agent_id], rotate=rotate)
    call.out.record(USER_COLUMNS[:5], user_row(applied.users[0]))
    say_kept(call.talk, applied)
    return ExitCode.OK
