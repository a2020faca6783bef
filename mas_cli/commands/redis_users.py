"""`mas redis-users`: users of the server for the system's own roles."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from mas_cli.connection import open_as_admin, open_system
from mas_cli.invocation import Invocation
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.server_user_rows import USER_COLUMNS, say_kept, user_row
from mas_core.errors import UsageError

_DEFAULTS = ("keep", "on", "off")


async def apply(
    call: Invocation,
    *,
    default: Annotated[
        str, typer.Option("--default", metavar="keep|on|off", help="Whether the default user may come in.")
    ] = "keep",
    force: Annotated[
        bool, typer.Option("--force", help="Turn it off although others are connected as it.")
    ] = False,
) -> ExitCode:
    """Make the users of gateway, auditor and operator, and put back those of agents.

    Each gets a password made at random, in a private file (mode 0600) beside the system's keys; commands and
    gateways use theirs from their next start on. Then turn the default user off, so that nobody else comes in.
    """
    if default not in _DEFAULTS:
        raise UsageError(f"--default: {default!r} is none of {', '.join(_DEFAULTS)}")
    async with open_as_admin(call) as system:
        from mas_core.ops import server_users

        applied = await server_users.apply(system, default=cast("server_users.Default", default), force=force)
    call.out.records(USER_COLUMNS[:5], [user_row(item) for item in applied.users])
    say_kept(call.talk, applied)
    if not applied.default_off:
        call.talk.say("start gateways and agents again, then: mas redis-users apply --default off")
    return ExitCode.OK


async def list_users(call: Invocation) -> ExitCode:
    """List the users of the server: those of the system, of its agents, and others."""
    async with open_system(call) as system:
        from mas_core.ops import server_users

        found = await server_users.list_users(system)
    call.out.records(USER_COLUMNS[:3] + USER_COLUMNS[4:5], [user_row(item) for item in found])
    call.talk.count(f"{len(found)} users")
    return ExitCode.OK
