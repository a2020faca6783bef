"""`mas agent list|describe|register|deregister`: the agents of a running system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.input.selectors import matches_all, parse_selectors
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.issued_tokens import check_destination, write_issued
from mas_cli.output.moments import moment
from mas_cli.output.rule_rows import RULE_COLUMNS, rule_row
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, snapshot, watch_snapshots, watched
from mas_core.errors import UsageError
from mas_core.settings.transport import has_authority

if TYPE_CHECKING:
    from mas_core.ops.agents import AgentDescription, AgentSummary
    from mas_core.ops.dead_letter_views import DeadLetter
    from mas_core.ops.system import System

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Id of the agent.")]

_STATUSES = ("running", "draining", "stopped", "paused", "quarantined", "evicted")


def _coloured(status: object) -> Style | None:
    return {"running": "good", "stopped": "dim"}.get(str(status), "warn")  # type: ignore[return-value]


_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("status", style=_coloured),
    Column("capabilities", flexible=True),
    Column("instances", kind="number"),
    Column("load", kind="number"),
    Column("backlog", kind="number"),
    Column("last_seen", kind="age"),
    Column("version", usual=""),
)
_LISTED = (*_COLUMNS, Column("trouble", flexible=True, style=lambda _: "warn", usual=""))
_SORTED_BY = ("id", "status", "instances", "load", "backlog", "last_seen")
_UNSTEADY = frozenset({"last_seen", "seen", "running_instances"})
"""Heartbeats come all the time; that alone is no news."""
_DETAILS = (
    *_COLUMNS[:-1],
    Column("standing.reason", header="because"),
    Column("standing.by", header="said by"),
    Column("standing.since", header="since", kind="time"),
    Column("metadata"),
    Column("permitted_capabilities"),
    Column("per_minute", kind="number"),
    Column("per_hour", kind="number"),
    Column("state_revision", kind="number"),
    Column("partition", kind="number"),
    Column("registered", kind="time"),
    Column("source"),
)
_SECTIONS = {
    "running_instances": (
        Column("instance"),
        Column("status"),
        Column("in_hand", kind="number"),
        Column("started", kind="age"),
        Column("seen", kind="age"),
        Column("host"),
        Column("pid", kind="number"),
        Column("state_problem", flexible=True),
    ),
    "scaling": (
        Column("runner"),
        Column("instances", kind="number"),
        Column("min", kind="number"),
        Column("max", kind="number"),
        Column("since", kind="age"),
        Column("reason", flexible=True),
    ),
    "last_errors": (
        Column("id"),
        Column("time", kind="time"),
        Column("from"),
        Column("type"),
        Column("code"),
        Column("reason", flexible=True),
        Column("attempts", kind="number"),
    ),
    "tokens": (
        Column("key_id"),
        Column("valid"),
        Column("created", kind="time"),
        Column("expires", kind="time"),
        Column("revoked", kind="time"),
    ),
    "rules_from": RULE_COLUMNS,
    "rules_to": RULE_COLUMNS,
}


async def list_agents(
    call: Invocation,
    *,
    capability: Annotated[
        str, typer.Option(metavar="NAME", help="Only running agents that can do this.")
    ] = "",
    status: Annotated[
        str, typer.Option(metavar="|".join(_STATUSES), help="Only agents with this status.")
    ] = "",
    selector: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="Only with this metadata: k=v, k!=v, k, !k; repeatable."),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="|".join(_SORTED_BY), help="What comes first: of numbers, the most.")
    ] = "id",
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most so many.")] = None,
    watch: Watch = None,
    count: Count = None,
    duration: For = None,
    until: Until = None,
) -> ExitCode:
    """List the registered agents."""
    if status not in {"", *_STATUSES}:
        raise UsageError(f"--status: {status!r} is none of {', '.join(_STATUSES)}")
    if sort not in _SORTED_BY:
        raise UsageError(f"--sort: {sort!r} is none of {', '.join(_SORTED_BY)}")
    if limit is not None and limit < 1:
        raise UsageError("--limit is at least 1")
    selectors = parse_selectors(selector or [])
    how = watched(watch, count, duration, until)
    async with open_system(call) as system:
        from mas_core.ops import agents
        from mas_core.ops.agent_troubles import agent_troubles

        async def rows() -> list[Record]:
            found = await agents.list_agents(system, capability=capability, status=status)
            chosen = [agent for agent in found if matches_all(selectors, agent.metadata)]
            troubles = await agent_troubles(system)
            return _sorted(
                [{**_summary(agent), "trouble": troubles.get(agent.id, "")} for agent in chosen], sort
            )

        if how is not None:

            async def look() -> Snapshot:
                return snapshot(Shown(_LISTED, (await rows())[:limit], "id"), unsteady=_UNSTEADY)

            await watch_snapshots(call, look, how)
            return ExitCode.OK
        listed = await rows()
    call.out.records(_LISTED, listed[:limit])
    if limit is not None and len(listed) > limit:
        call.talk.warn(f"only {limit} of {len(listed)} agents are shown")
    call.talk.count(f"{len(listed)} agents")
    return ExitCode.OK


async def describe(
    call: Invocation,
    agent_id: AgentId,
    *,
    watch: Watch = None,
    count: Count = None,
    duration: For = None,
    until: Until = None,
) -> ExitCode:
    """Show everything about an agent.

    Its instances, tokens, limits and state, the newest messages of the last 24 hours that it could not handle, and
    the rules that name it, one of its roles or everybody. What was refused: mas audit list --sender or --target.
    """
    how = watched(watch, count, duration, until)
    async with open_system(call) as system:
        if how is not None:
            await watch_snapshots(call, lambda: _look(system, agent_id), how)
            return ExitCode.OK
        found = await _described(system, agent_id)
    call.out.record(_DETAILS, found)
    if call.out.format is Format.TABLE and call.out.options.columns is None:
        for name, columns in _SECTIONS.items():
            rows = found[name]
            if isinstance(rows, list) and rows:
                call.out.write(f"\n{name.replace('_', ' ')}\n")
                call.out.records(columns, rows)
    return ExitCode.OK


async def register(
    call: Invocation,
    agent_id: AgentId,
    *,
    capability: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="What it may claim to be able to do; repeatable. Anything if left out."
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DUR", help="How long its token counts; for ever if left out.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show the token instead of writing it to a file.")
    ] = False,
) -> ExitCode:
    """Register an agent and make its token.

    The token is written to a private file (mode 0600) in the project's folder of tokens. It is stored nowhere
    else: with --show it is printed once and kept nowhere.
    """
    seconds = 0 if expires is None else parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops import agents

        check_destination(system.target.tokens_dir, show=show)
        issued = await agents.register(
            system, agent_id, capabilities=capability, expires_in=seconds, show=show
        )
        project = system.target.project
    write_issued(call.out, issued)
    if project is not None and has_authority(project):
        call.talk.say(f"let it come through a server with: mas cert issue {agent_id}")
    call.talk.say(f"undo with: mas agent deregister {agent_id} --yes")
    call.talk.say(f"let it talk with: mas rbac allow {agent_id} AGENT")
    return ExitCode.OK


async def deregister(call: Invocation, agent_id: AgentId) -> ExitCode:
    """Remove an agent and its tokens; its state stays."""
    async with open_system(call) as system:
        from mas_core.ops import agents

        found = (await agents.describe(system, agent_id)).summary
        if found.instances:
            call.talk.warn(f"{agent_id} is running: {found.instances} of its instances will end at once")
        if found.backlog:
            call.talk.warn(f"{found.backlog:,} messages in its inbox wait until there is a {agent_id} again")
        call.ask.one(f"the agent {agent_id}")
        await agents.deregister(system, agent_id)
    call.out.record(
        (
            Column("id"),
            Column("removed"),
            Column("instances", kind="number"),
            Column("backlog", kind="number"),
        ),
        {"id": agent_id, "removed": True, "instances": found.instances, "backlog": found.backlog},
    )
    call.talk.say(f"undo with: mas agent register {agent_id}, which makes a new token")
    return ExitCode.OK


async def _look(system: System, agent_id: str) -> Snapshot:
    found = await _described(system, agent_id)
    sections = [
        Shown(columns, rows, columns[0].key)
        for name, columns in _SECTIONS.items()
        if isinstance(rows := found[name], list)
    ]
    whole = Shown(_DETAILS, [found], "id", is_single=True)
    return snapshot(whole, *sections, unsteady=_UNSTEADY)


async def _described(system: System, agent_id: str) -> Record:
    from mas_core.ops import agents, dead_letter_views

    found = await agents.describe(system, agent_id)
    letters = await dead_letter_views.last_errors(system, agent_id)
    return _description(found, letters, await system.store.connection.time_ms())


def _sorted(rows: list[Record], by: str) -> list[Record]:
    """By a text from its beginning, by a number or a time from the most on; equal ones by id."""
    if by in {"id", "status"}:
        return sorted(rows, key=lambda row: (str(row[by]), str(row["id"])))
    # Times are texts that sort as times do.
    return sorted(
        rows, key=lambda row: str(row[by] or "") if by == "last_seen" else int(str(row[by])), reverse=True
    )


def _summary(agent: AgentSummary) -> dict[str, object]:
    return {
        "id": agent.id,
        "status": agent.status,
        "capabilities": list(agent.capabilities),
        "instances": agent.instances,
        "load": agent.load,
        "backlog": agent.backlog,
        "last_seen": moment(agent.last_seen),
        "version": str(agent.metadata.get("version") or ""),
        "metadata": agent.metadata,
        "standing": None
        if agent.standing is None
        else {
            "kind": agent.standing.kind,
            "reason": agent.standing.reason,
            "by": agent.standing.by,
            "since": moment(agent.standing.since),
        },
        "scaling": [
            {
                "runner": item.runner,
                "instances": item.count,
                "min": item.min,
                "max": item.max,
                "since": moment(item.since),
                "reason": item.reason,
            }
            for item in agent.scaling
        ],
    }


def _description(agent: AgentDescription, letters: list[DeadLetter] | None, now: int) -> Record:
    registration = agent.registration
    permitted = registration.capabilities
    return {
        **_summary(agent.summary),
        "permitted_capabilities": None if permitted is None else list(permitted),
        "per_minute": agent.limit.per_minute,
        "per_hour": agent.limit.per_hour,
        "state_revision": agent.state_revision,
        "partition": agent.partition,
        "registered": moment(registration.created),
        "source": registration.source,
        "running_instances": [
            {
                "instance": item.instance,
                "status": item.status,
                "standing": item.standing,
                "in_hand": item.in_hand,
                "started": moment(item.started),
                "seen": moment(item.seen),
                "host": item.host,
                "pid": item.pid,
                "slot": item.slot,
                "state_problem": item.state_problem,
            }
            for item in agent.entry.running(now)
        ],
        "last_errors": None
        if letters is None
        else [
            {
                "id": letter.id,
                "time": moment(letter.facts.dead_at),
                "from": letter.facts.sender,
                "type": letter.facts.type,
                "code": letter.facts.code,
                "reason": letter.facts.reason,
                "attempts": letter.facts.attempts,
            }
            for letter in letters
        ],
        "tokens": [
            {
                "key_id": key.key_id,
                "valid": key.is_valid(now),
                "created": moment(key.created),
                "expires": moment(key.expires),
                "revoked": moment(key.revoked),
            }
            for key in registration.keys
        ],
        "rules_from": [rule_row(rule) for rule in agent.rules_from],
        "rules_to": [rule_row(rule) for rule in agent.rules_to],
    }
