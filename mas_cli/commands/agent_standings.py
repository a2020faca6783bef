"""`mas agent pause|resume|drain|quarantine|evict`: the operator's hand on single agents."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import DeadlineExceeded, UsageError

if TYPE_CHECKING:
    from mas_core.model.standing import StandingKind
    from mas_core.ops.standings import StandingReport

AgentIds = Annotated[list[str], typer.Argument(metavar="AGENT", help="Ids of the agents.")]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Why; it is shown to senders and kept in the history.")
]

_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("before"),
    Column("standing"),
    Column("done"),
    Column("instances", kind="number"),
    Column("following", kind="number"),
    Column("in_hand", kind="number"),
    Column("backlog", kind="number"),
    Column("problem", flexible=True),
)


async def pause(call: Invocation, agent_ids: AgentIds, *, reason: Reason = "") -> ExitCode:
    """Keep what is sent to agents until they resume; they handle nothing meanwhile.

    Handlers that run finish, and what the agents send themselves passes. Messages that nobody handles in their
    time to live expire. --timeout is how long to wait for the instances to follow, 10s if left out.
    """
    return await _set(call, agent_ids, "paused", reason)


async def resume(call: Invocation, agent_ids: AgentIds) -> ExitCode:
    """Let agents work again that were paused, drained, quarantined or evicted.

    The tokens of an evicted agent stay revoked.
    """
    return await _set(call, agent_ids, "active", "")


async def drain(call: Invocation, agent_ids: AgentIds, *, reason: Reason = "") -> ExitCode:
    """Refuse new messages for agents, and wait until they have finished what they have.

    Senders are told backpressure, with the reason. The instances go on running and what they send passes.
    --timeout is how long to wait, 60s if left out; the agents go on draining afterwards.
    """
    return await _set(call, agent_ids, "draining", reason)


async def quarantine(call: Invocation, agent_ids: AgentIds, *, reason: Reason = "") -> ExitCode:
    """Let nothing pass from agents or to them, and keep them as they are for a closer look.

    What was delivered before stays in their inboxes; their instances start no handler, and their tokens and
    connections stay.
    """
    return await _set(call, agent_ids, "quarantined", reason)


async def evict(call: Invocation, agent_ids: AgentIds, *, reason: Reason = "") -> ExitCode:
    """Stop agents for good: nothing passes at once, their instances end, their tokens are revoked.

    Their registration and state stay. A new start is refused until mas agent resume and a new token.
    """
    if not reason.strip():
        raise UsageError("an eviction needs a reason", hint="--reason 'why'")
    return await _set(call, agent_ids, "evicted", reason)


async def _set(call: Invocation, agent_ids: list[str], kind: StandingKind, reason: str) -> ExitCode:
    names = list(dict.fromkeys(agent_ids))
    wait = call.flags.timeout_seconds()
    async with open_system(call) as system:
        from mas_core.ops.agents import require_agents
        from mas_core.ops.standings import set_standing

        if kind == "evicted":
            await require_agents(system, *names)
            things = [f"the tokens and running instances of {name}" for name in names]
            if len(things) > 1:
                call.ask.many(things, system.target.name)
            else:
                call.ask.one(things[0])
        reports = await set_standing(system, names, kind, reason=reason, wait=wait)
    call.out.records(_COLUMNS, [_row(report) for report in reports])
    _conclude(call, reports, kind)
    return ExitCode.OK


def _conclude(call: Invocation, reports: list[StandingReport], kind: StandingKind) -> None:
    names = shlex.join(report.agent_id for report in reports)
    if kind == "active":
        for report in reports:
            if report.before == "evicted":
                call.talk.warn(
                    f"the tokens of {report.agent_id} stay revoked: mas agent token rotate {report.agent_id}"
                )
    else:
        call.talk.say(f"undo with: mas agent resume {names}")
    late = [report for report in reports if not report.is_done]
    if not late:
        return
    told = "; ".join(f"{report.agent_id}: {report.problem}" for report in late)
    hint = tuple(f"mas agent describe {report.agent_id}" for report in late)
    if len(late) < len(reports):
        raise PartlyFailed(f"{len(late)} of {len(reports)} did not follow in time: {told}", hint=hint)
    raise DeadlineExceeded(f"in force at the gateways, but not done in time: {told}", hint=hint)


def _row(report: StandingReport) -> dict[str, object]:
    return {
        "id": report.agent_id,
        "before": report.before,
        "standing": report.standing,
        "done": report.is_done,
        "instances": report.instances,
        "following": report.following,
        "in_hand": report.in_hand,
        "backlog": report.backlog,
        "problem": report.problem or None,
    }
