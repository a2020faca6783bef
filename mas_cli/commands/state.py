"""`mas state`: what agents remember."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.input.payload import PayloadSource, given_value, payloads
from mas_cli.input.prompts import announced
from mas_cli.input.sending_flags import Fields, JsonFields
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record, plain
from mas_cli.output.documents import json_text
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, snapshot, watch_snapshots, watched
from mas_core.errors import KeyNotFound, StateChanged, UsageError

if TYPE_CHECKING:
    from mas_core.ops.state import AgentState
    from mas_core.ops.system import System

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Id of the agent.")]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and show what would be.")]

_WHOLE = "."
_LISTED = (
    Column("agent", style=lambda _: "name"),
    Column("revision", kind="number"),
    Column("bytes", kind="number"),
)
_VALUES = (Column("path", style=lambda _: "name"), Column("value", flexible=True))
_CHANGE = (
    Column("agent"),
    Column("path"),
    Column("before", flexible=True),
    Column("after", flexible=True),
    Column("revision", kind="number"),
)
_DIFFERENCE = (
    Column("path", style=lambda _: "name"),
    Column("change"),
    Column("before", flexible=True),
    Column("after", flexible=True),
)
_RESET = (
    Column("agent"),
    Column("reset"),
    Column("revision", kind="number"),
    Column("backup"),
    Column("error.message", header="error", flexible=True),
)


async def get(
    call: Invocation,
    agent_id: AgentId,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Such as notes.0.text; the whole state if left out.")
    ] = _WHOLE,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="A text without quotes and nothing else.")] = False,
    revision: Annotated[
        bool, typer.Option("--revision", help="Add the revision to JSON: {revision, value}.")
    ] = False,
    default: Annotated[
        str | None, typer.Option(metavar="JSON", help="What is shown where there is nothing at PATH.")
    ] = None,
    watch: Watch = None,
    count: Count = None,
    duration: For = None,
    until: Until = None,
) -> ExitCode:
    """Show the state of an agent or a part of it."""
    how = watched(watch, count, duration, until)
    if how is not None and (raw or revision):
        raise UsageError("--raw and --revision are for one look", hint="leave --watch out")
    instead = None if default is None else [given_value(default, call.stdin)]
    async with open_system(call) as system:
        from mas_core.ops import state as states

        if how is not None:
            await watch_snapshots(call, lambda: _look(system, agent_id, path, instead), how)
            return ExitCode.OK
        state = await states.get(system, agent_id)
    value = _part(state, path, instead)
    if raw:
        if isinstance(value, dict | list) or value is None:
            raise UsageError(
                f"--raw is for a text, a number or a truth value, and {path} is none", hint="-o json"
            )
        call.out.raw(str(value).lower() if isinstance(value, bool) else plain(value))
    elif call.out.format in {Format.TABLE, Format.CSV, Format.NAME} and not revision:
        call.out.records(_VALUES, list(_leaves(value, "" if path == _WHOLE else path)))
    else:
        call.out.document({"revision": state.revision, "value": value} if revision else value)
    call.talk.count(
        f"{agent_id}: revision {state.revision}" if state.revision else f"{agent_id} has no state yet"
    )
    return ExitCode.OK


async def list_states(call: Invocation) -> ExitCode:
    """List the agents that remember something, with revision and size."""
    async with open_system(call) as system:
        from mas_core.ops import state as states

        found = await states.revisions(system)
    call.out.records(
        _LISTED, [{"agent": name, "revision": revision, "bytes": size} for name, revision, size in found]
    )
    call.talk.count(f"{len(found)} states")
    return ExitCode.OK


async def set_part(
    call: Invocation,
    agent_id: AgentId,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Such as settings.limit; . is the whole state.")
    ],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="JSON, @file, or - for standard input.")],
    *,
    if_revision: Annotated[
        int | None, typer.Option(metavar="N", help="Only if the state still has this revision.")
    ] = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Set a part of an agent's state.

    Nothing is set if somebody else changes the state meanwhile. A running agent with a state model checks the new
    state and takes it over, or says why it cannot; any other sees it with its next change.
    """
    parsed = given_value(value, call.stdin)
    async with open_system(call) as system:
        from mas_core.ops import state as states

        before = await states.get(system, agent_id)
        old = _part_or_none(before, path)
        if dry_run:
            states.with_part(before, path, parsed)
            return _would_change(call, before, path, old, parsed)
        expected = before.revision if if_revision is None else if_revision
        after = await states.set_part(system, agent_id, path, parsed, if_revision=expected)
        problems = await states.refusals(system, agent_id, after.revision)
    call.out.record(_CHANGE, _changed(agent_id, path, old, parsed, after.revision))
    for problem in problems:
        call.talk.warn(f"{agent_id} cannot use this state, and changes nothing until it is right: {problem}")
    if not problems:
        call.talk.say(f"where {agent_id} runs, it sees this with the next change of its state")
    if old is not None:
        text = shlex.quote(json_text(old))
        call.talk.say(
            f"undo with: mas state set {agent_id} {shlex.quote(path)} {text} --if-revision {after.revision}"
        )
    return ExitCode.OK


async def patch(
    call: Invocation,
    agent_id: AgentId,
    payload: Annotated[
        str | None, typer.Argument(metavar="PAYLOAD", help="A JSON merge patch: JSON, @file, or -.")
    ] = None,
    *,
    fields: Fields = None,
    json_fields: JsonFields = None,
    if_revision: Annotated[
        int | None, typer.Option(metavar="N", help="Only if the state still has this revision.")
    ] = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Change several parts of an agent's state at once, or none.

    Objects are merged, null takes away, anything else replaces (RFC 7396).
    """
    source = PayloadSource(payload, fields or (), json_fields or ())
    (change,) = payloads(source, call.stdin, before_stdin=announced(call))
    async with open_system(call) as system:
        from mas_core.ops import state as states

        before = await states.get(system, agent_id)
        value = states.merged_with(before, change)
        if dry_run:
            return _would_change(call, before, _WHOLE, before.value, value)
        if if_revision is not None and if_revision != before.revision:
            raise StateChanged(
                f"the state of {agent_id} has revision {before.revision}, not {if_revision}",
                hint=f"mas state get {agent_id}",
            )
        after = await states.replace(system, before, value)
        problems = await states.refusals(system, agent_id, after.revision)
    call.out.record(_CHANGE, _changed(agent_id, _WHOLE, before.value, value, after.revision))
    for problem in problems:
        call.talk.warn(f"{agent_id} cannot use this state, and changes nothing until it is right: {problem}")
    text = shlex.quote(json_text(before.value))
    call.talk.say(f"undo with: mas state set {agent_id} . {text} --if-revision {after.revision}")
    return ExitCode.OK


async def diff(
    call: Invocation,
    agent_id: AgentId,
    *,
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="JSON or YAML; - is standard input.")
    ] = "",
    path: Annotated[str, typer.Option(metavar="PATH", help="Compare only this part of the state.")] = _WHOLE,
) -> ExitCode:
    """Tell what a file says otherwise than the state of an agent; exit code 1 when something differs.

    Such as the backup that mas state reset wrote, or what mas state get -o json printed before.
    """
    if not file:
        raise UsageError("say which file", hint=f"mas state diff {agent_id} --file FILE")
    wanted = given_value(file if file == "-" else f"@{file}", call.stdin, before_stdin=announced(call))
    async with open_system(call) as system:
        from mas_core.ops import state as states
        from mas_core.ops.state_differences import differences

        state = await states.get(system, agent_id)
    found = differences(states.part(state, path), wanted)
    call.out.records(
        _DIFFERENCE,
        [
            {"path": item.path, "change": item.change, "before": item.before, "after": item.after}
            for item in found
        ],
    )
    call.talk.count(f"{len(found)} differences from revision {state.revision}")
    return ExitCode.NO if found else ExitCode.OK


async def reset(
    call: Invocation,
    agent_ids: Annotated[list[str], typer.Argument(metavar="AGENT", help="Ids of the agents.")],
    *,
    paths: Annotated[
        list[str] | None, typer.Option("--path", metavar="PATH", help="Only this part; repeatable.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="All but what has this name; repeatable.")
    ] = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Empty the state of agents, or a part of it, after a backup.

    What was there is written to a private JSON file first. A running agent starts from its defaults with its
    next change.
    """
    if paths and keep:
        raise UsageError("--path and --keep exclude each other")
    unique = list(dict.fromkeys(agent_ids))
    rows: list[Record] = []
    async with open_system(call) as system:
        from mas_core.ops import state as states

        found = [await states.get(system, agent_id) for agent_id in unique]
        left = [
            states.without_parts(state, paths) if paths else states.only_parts(state, keep or ())
            for state in found
        ]
        if dry_run:
            rows = [
                _changed(state.agent_id, _WHOLE, state.value, value, state.revision)
                for state, value in zip(found, left, strict=True)
            ]
            call.out.records(_CHANGE, rows)
            call.talk.say("nothing was changed")
            return ExitCode.OK
        if len(found) > 1:
            call.ask.many([f"the state of {agent_id}" for agent_id in unique], system.target.name)
        else:
            call.ask.one(f"the state of {unique[0]}")
        for before, value in zip(found, left, strict=True):
            backup = states.backup(system, before)
            try:
                after = await states.replace(system, before, value)
            except StateChanged as error:
                rows.append(_row(before.agent_id, error.details.get("found"), None, error))
            else:
                rows.append(_row(before.agent_id, after.revision, backup, None))
    call.out.records(_RESET, rows)
    failed = [row for row in rows if row["error"]]
    if failed:
        raise PartlyFailed(f"{len(failed)} of {len(rows)} states were changed meanwhile and not reset")
    call.talk.say("where they run, agents begin anew with the next change of their state")
    for row in rows:
        call.talk.say(f"undo with: mas state set {row['agent']} . @{shlex.quote(str(row['backup']))}")
    return ExitCode.OK


async def _look(system: System, agent_id: str, path: str, instead: list[object] | None) -> Snapshot:
    from mas_core.ops import state as states

    value = _part(await states.get(system, agent_id), path, instead)
    return snapshot(Shown(_VALUES, list(_leaves(value, "" if path == _WHOLE else path)), "path"))


def _part(state: AgentState, path: str, instead: list[object] | None) -> object:
    """The part at a path, or what stands instead where there is none."""
    from mas_core.ops.state import part

    try:
        return part(state, path)
    except KeyNotFound:
        if instead is None:
            raise
        return instead[0]


def _would_change(call: Invocation, before: AgentState, path: str, old: object, value: object) -> ExitCode:
    call.out.record(_CHANGE, _changed(before.agent_id, path, old, value, before.revision))
    call.talk.say("nothing was changed")
    return ExitCode.OK


def _changed(agent_id: str, path: str, before: object, after: object, revision: int) -> Record:
    return {"agent": agent_id, "path": path, "before": before, "after": after, "revision": revision}


def _row(agent_id: str, revision: object, backup: Path | None, error: StateChanged | None) -> Record:
    return {
        "agent": agent_id,
        "reset": error is None,
        "revision": revision,
        "backup": None if backup is None else str(backup),
        "error": None if error is None else {"code": error.code, "message": error.message},
    }


def _part_or_none(state: AgentState, path: str) -> object:
    from mas_core.ops.state import part

    try:
        return part(state, path)
    except KeyNotFound:
        return None


def _leaves(value: object, path: str) -> Iterator[Record]:
    """Every value that holds no other, with its path."""
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [(str(index), item) for index, item in enumerate(value)]
    if inner:
        for name, item in inner:
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif path or not isinstance(value, dict | list):
        yield {"path": path, "value": value if value and isinstance(value, str) else json_text(value)}
