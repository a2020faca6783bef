"""`mas rbac network|broadcast|wildcard`: many rules by one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.input.rule_flags import DryRun, Expires, Reason, RuleAction, Sender, Targets, TypeGlob
from mas_cli.invocation import Invocation
from mas_cli.output.exit_codes import ExitCode
from mas_cli.rule_changes import added_rules

if TYPE_CHECKING:
    from mas_core.model.policy import Rule
    from mas_core.ops.system import System


async def network(
    call: Invocation,
    agents: Annotated[list[str], typer.Argument(metavar="AGENT", help="Two or more agents, or role:NAME.")],
    *,
    message_type: TypeGlob = "*",
    action: RuleAction = "*",
    expires: Expires = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Let each of several agents send to each other one: a rule for every pair and direction."""
    seconds = 0 if expires is None else parse_duration(expires, "--expires")

    async def add(system: System) -> list[Rule]:
        from mas_core.ops import rbac

        return await rbac.add_network(
            system,
            agents,
            message_type=message_type,
            action=action,
            expires_in=seconds,
            reason=reason,
            dry_run=dry_run,
        )

    async with open_system(call) as system:
        await added_rules(call, system, add, dry_run=dry_run)
    return ExitCode.OK


async def broadcast(
    call: Invocation,
    sender: Sender,
    targets: Targets,
    *,
    message_type: TypeGlob = "*",
    expires: Expires = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Let one agent send to several, one way, and ask nothing of them: messages, no requests."""
    seconds = 0 if expires is None else parse_duration(expires, "--expires")

    async def add(system: System) -> list[Rule]:
        from mas_core.ops import rbac

        return await rbac.add_rules(
            system,
            "allow",
            sender,
            targets,
            message_type=message_type,
            action="send",
            expires_in=seconds,
            reason=reason,
            dry_run=dry_run,
        )

    async with open_system(call) as system:
        await added_rules(call, system, add, dry_run=dry_run)
    return ExitCode.OK


async def wildcard(
    call: Invocation,
    sender: Sender,
    *,
    message_type: TypeGlob = "*",
    expires: Expires = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Let an agent send to every agent there is or will be; asks for its name, or --confirm NAME."""
    seconds = 0 if expires is None else parse_duration(expires, "--expires")

    async def add(system: System) -> list[Rule]:
        from mas_core.ops import rbac

        return await rbac.add_rules(
            system,
            "allow",
            sender,
            ["*"],
            message_type=message_type,
            expires_in=seconds,
            reason=reason,
            dry_run=dry_run,
        )

    async with open_system(call) as system:
        if not dry_run:
            call.ask.named(f"this lets {sender} send to every agent there is or will be", sender)
        await added_rules(call, system, add, dry_run=dry_run)
    return ExitCode.OK
