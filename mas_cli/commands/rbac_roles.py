"""`mas rbac role` and `mas rbac capability`: who belongs to a role, and who may claim what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode

if TYPE_CHECKING:
    from mas_core.model.policy import PolicyDocument

Role = Annotated[str, typer.Argument(metavar="ROLE", help="Name of the role.")]
Members = Annotated[list[str], typer.Argument(metavar="AGENT", help="Ids of agents.")]
Capability = Annotated[str, typer.Argument(metavar="CAPABILITY", help="Pattern, such as 'diagnosis.*'.")]

_ROLES = (
    Column("role", style=lambda _: "name"),
    Column("members", flexible=True),
    Column("rules", flexible=True),
)
_CAPABILITIES = (Column("capability", style=lambda _: "name"), Column("only", flexible=True))


async def list_roles(call: Invocation) -> ExitCode:
    """List the roles with their members, and the rules that name them."""
    async with open_system(call) as system:
        from mas_core.ops import rbac

        document = await rbac.load(system)
    call.out.records(_ROLES, [_role_row(document, role) for role in document.roles])
    return ExitCode.OK


async def create(
    call: Invocation,
    role: Role,
    members: Annotated[list[str] | None, typer.Argument(metavar="AGENT", help="First members.")] = None,
    *,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="TO", help="Let its members send to this agent, role:NAME or *; repeatable."),
    ] = None,
    message_type: Annotated[
        str, typer.Option("--type", metavar="GLOB", help="With --allow: only these message types.")
    ] = "*",
) -> ExitCode:
    """Make a role; rules and limits name it as role:ROLE."""
    async with open_system(call) as system:
        from mas_core.ops import policy_people, rbac

        document = await policy_people.add_role(system, role, members or ())
        if allow:
            await rbac.add_rules(system, "allow", f"role:{role}", allow, message_type=message_type)
            document = await rbac.load(system)
    call.out.record(_ROLES, _role_row(document, role))
    if not allow:
        call.talk.say(f"let its members talk with: mas rbac allow role:{role} AGENT")
    return ExitCode.OK


async def assign(call: Invocation, role: Role, members: Members) -> ExitCode:
    """Give a role to agents; in force when it returns."""
    async with open_system(call) as system:
        from mas_core.ops import policy_people

        document = await policy_people.assign(system, role, members)
    call.out.record(_ROLES, _role_row(document, role))
    call.talk.say(f"undo with: mas rbac role unassign {role} {' '.join(members)}")
    return ExitCode.OK


async def unassign(call: Invocation, role: Role, members: Members) -> ExitCode:
    """Take a role from agents; in force when it returns."""
    async with open_system(call) as system:
        from mas_core.ops import policy_people

        document = await policy_people.unassign(system, role, members)
    call.out.record(_ROLES, _role_row(document, role))
    call.talk.say(f"undo with: mas rbac role assign {role} {' '.join(members)}")
    return ExitCode.OK


async def list_capabilities(call: Invocation) -> ExitCode:
    """List the capabilities that not everybody may claim."""
    async with open_system(call) as system:
        from mas_core.ops import rbac

        document = await rbac.load(system)
    rows = [{"capability": glob, "only": list(parties)} for glob, parties in document.capabilities.items()]
    call.out.records(_CAPABILITIES, rows)
    call.talk.count("capabilities that are not listed may be claimed by everybody")
    return ExitCode.OK


async def bind(
    call: Invocation,
    capability: Capability,
    parties: Annotated[list[str], typer.Argument(metavar="WHO", help="Agents, role:NAME or *.")],
) -> ExitCode:
    """Say who alone may claim a capability; the gateway refuses the start of others that do."""
    async with open_system(call) as system:
        from mas_core.ops import policy_people

        document = await policy_people.bind(system, capability, parties)
    call.out.record(
        _CAPABILITIES, {"capability": capability, "only": list(document.capabilities[capability])}
    )
    call.talk.say(f"undo with: mas rbac capability free '{capability}'")
    return ExitCode.OK


async def free(call: Invocation, capability: Capability) -> ExitCode:
    """Let everybody claim a capability again."""
    async with open_system(call) as system:
        from mas_core.ops import policy_people

        await policy_people.bind(system, capability, None)
    call.out.record(_CAPABILITIES, {"capability": capability, "only": ["*"]})
    return ExitCode.OK


def _role_row(document: PolicyDocument, role: str) -> Record:
    name = f"role:{role}"
    return {
        "role": role,
        "members": list(document.roles[role]),
        "rules": [rule.id for rule in document.rules if name in (rule.sender, rule.target)],
    }
