"""`mas agent trust|untrust|block|unblock`: what the policy says about single agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment

if TYPE_CHECKING:
    from mas_core.ops.policy_people import MarkKind

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Id of the agent.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept, and shown with refusals.")]
Expires = Annotated[str | None, typer.Option(metavar="DUR", help="How long it counts; for ever if left out.")]

_MARK = (
    Column("rule", style=lambda _: "name"),
    Column("agent"),
    Column("mark"),
    Column("expires", kind="time"),
    Column("reason", flexible=True),
)
_UNDO = {"blocked": "unblock", "trusted": "untrust"}


async def trust(
    call: Invocation, agent_id: AgentId, *, reason: Reason = "", expires: Expires = None
) -> ExitCode:
    """Let an agent send to everybody, without a rule and without approval.

    Rules that deny and blocks still win, and limits, scanning and breakers count for it as for everybody. Who
    may send to it does not change.
    """
    return await _mark(call, "trusted", agent_id, reason, expires)


async def untrust(call: Invocation, agent_id: AgentId) -> ExitCode:
    """Let the rules count for an agent again as for everybody."""
    return await _unmark(call, "trusted", agent_id)


async def block(
    call: Invocation, agent_id: AgentId, *, reason: Reason = "", expires: Expires = None
) -> ExitCode:
    """Let nothing pass from an agent or to it, replies included; no rule overrules this.

    It counts at every gateway when the command returns. What was delivered before stays in its inbox.
    """
    return await _mark(call, "blocked", agent_id, reason, expires)


async def unblock(call: Invocation, agent_id: AgentId) -> ExitCode:
    """Let the rules count again for an agent that was blocked."""
    return await _unmark(call, "blocked", agent_id)


async def _mark(
    call: Invocation, kind: MarkKind, agent_id: str, reason: str, expires: str | None
) -> ExitCode:
    seconds = 0 if expires is None else parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops import policy_people

        found = await policy_people.mark(system, kind, agent_id, reason=reason, expires_in=seconds)
    call.out.record(
        _MARK,
        {
            "rule": f"{'block' if kind == 'blocked' else 'trust'}:{agent_id}",
            "agent": agent_id,
            "mark": kind,
            "expires": moment(found.expires),
            "reason": found.reason,
            "by": found.by,
        },
    )
    call.talk.say(f"undo with: mas agent {_UNDO[kind]} {agent_id}")
    return ExitCode.OK


async def _unmark(call: Invocation, kind: MarkKind, agent_id: str) -> ExitCode:
    async with open_system(call) as system:
        from mas_core.ops import policy_people

        await policy_people.unmark(system, kind, agent_id)
    call.out.record(
        _MARK,
        {
            "rule": f"{'block' if kind == 'blocked' else 'trust'}:{agent_id}",
            "agent": agent_id,
            "mark": f"not {kind}",
            "expires": None,
            "reason": "",
            "by": None,
        },
    )
    return ExitCode.OK
