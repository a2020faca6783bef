"""`mas dlq`: messages that were given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.input.message_flags import Sender, WithPayload
from mas_cli.input.payload import PayloadSource, payloads
from mas_cli.input.time_ranges import parse_moment
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Kind, with_rest
from mas_cli.output.dead_letter_rows import (
    ATTEMPT_COLUMNS,
    CARRIED_COLUMNS,
    DONE,
    ENDS,
    GROUP_COLUMNS,
    LETTER_COLUMNS,
    attempt_rows,
    carried_row,
    letter_details,
    letter_row,
    would_row,
)
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.moments import moment
from mas_cli.output.progress import Progress
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.dead_letters import Act, Carried, DeadLetter, Wanted
    from mas_core.ops.system import System

_KINDS: dict[str, Kind] = {"ends_in": "duration"}
SHOWN = 100
"""So many are done before it is said how far it is."""

Letter = Annotated[
    str, typer.Argument(metavar="LETTER", help="As in mas dlq list, or the id of the message.")
]
Letters = Annotated[
    list[str] | None,
    typer.Argument(metavar="LETTER", help="Ids, as in mas dlq list, or ids of messages."),
]
All = Annotated[bool, typer.Option("--all", help="All that the other options leave.")]
Agent = Annotated[
    str, typer.Option("--agent", "--to", metavar="AGENT", help="Only of this agent, which failed.")
]
MessageType = Annotated[str, typer.Option("--type", metavar="GLOB", help="Only these message types.")]
_CODE_HELP = "Only given up with this code, such as expired, or these words."
ReadCode = Annotated[str, typer.Option("--reason", "--code", metavar="GLOB", help=_CODE_HELP)]
Code = Annotated[str, typer.Option("--code", metavar="GLOB", help=_CODE_HELP)]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Given up from then on: 1h, yesterday, a date or time.")
]
Older = Annotated[str | None, typer.Option(metavar="TIME", help="Given up before then.")]
Dropped = Annotated[
    bool, typer.Option("--dropped", help="Those that were dropped and can still be restored.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and list which it would be.")]


async def list_letters(
    call: Invocation,
    *,
    agent: Agent = "",
    sender: Sender = "",
    message_type: MessageType = "",
    code: ReadCode = "",
    since: Since = None,
    older: Older = None,
    dropped: Dropped = False,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many; 0 for all.")] = SHOWN,
) -> ExitCode:
    """List dead letters, the newest first, without their payloads."""
    wanted = _wanted(call, agent, sender, message_type, code, since, older, dropped=dropped)
    async with open_system(call) as system:
        from mas_core.ops import dead_letters

        found = await dead_letters.list_letters(system, wanted, newest=max(0, limit))
    columns = (*LETTER_COLUMNS, ENDS) if dropped else LETTER_COLUMNS
    call.out.records(columns, [letter_row(letter) for letter in found.letters])
    if len(found.letters) < found.total:
        call.talk.warn(f"only {len(found.letters)} of {found.total} are shown; --limit 0 shows all")
    else:
        call.talk.count("1 dead letter" if found.total == 1 else f"{found.total} dead letters")
    if found.unreadable:
        names = " ".join(found.unreadable[:5])
        call.talk.warn(
            f"{len(found.unreadable)} were not written by a gateway of this system: mas dlq drop {names}"
        )
    return ExitCode.OK


async def get(
    call: Invocation,
    name: Letter,
    *,
    payload: WithPayload = False,
) -> ExitCode:
    """Show a dead letter with every attempt.

    The message is sealed for the gateway: its payload is shown only where the gateway's key is at hand. An
    end-to-end encrypted payload stays encrypted.
    """
    async with open_system(call) as system:
        from mas_core.ops import dead_letters

        letter = await dead_letters.get(system, name)
        record = {**letter_row(letter), **letter_details(letter)}
        if payload:
            record["payload"] = await dead_letters.payload(system, letter.id)
    call.out.record(with_rest(LETTER_COLUMNS, record, _KINDS, without={"attempts"}), record)
    if call.out.format is Format.TABLE and call.out.options.columns is None and letter.facts.history:
        call.out.write("\nattempts\n")
        call.out.records(ATTEMPT_COLUMNS, attempt_rows(letter))
    return ExitCode.OK


async def stats(
    call: Invocation,
    *,
    agent: Agent = "",
    sender: Sender = "",
    message_type: MessageType = "",
    code: ReadCode = "",
    since: Since = None,
    older: Older = None,
    dropped: Dropped = False,
) -> ExitCode:
    """Count dead letters by code, type and agent, the largest group first."""
    wanted = _wanted(call, agent, sender, message_type, code, since, older, dropped=dropped)
    async with open_system(call) as system:
        from mas_core.ops import dead_letters

        groups = await dead_letters.stats(system, wanted)
    call.out.records(
        GROUP_COLUMNS,
        [
            {
                "count": group.count,
                "code": group.code,
                "type": group.type,
                "agent": group.agent,
                "newest": moment(group.newest),
                "oldest": moment(group.oldest),
            }
            for group in groups
        ],
    )
    call.talk.count(f"{sum(group.count for group in groups)} dead letters")
    return ExitCode.OK


async def retry(
    call: Invocation,
    names: Letters = None,
    *,
    everything: All = False,
    agent: Agent = "",
    sender: Sender = "",
    message_type: MessageType = "",
    code: Code = "",
    since: Since = None,
    older: Older = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="PAYLOAD", help="Deliver this instead, to one: JSON, @file, or -. Recorded."),
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Also what a rule holds for approval. Recorded.")
    ] = False,
    rate: Annotated[
        float, typer.Option(metavar="N", min=0, help="At most so many a second; no bound if left out.")
    ] = 0,
    dry_run: DryRun = False,
) -> ExitCode:
    """Deliver dead letters again, each once.

    Each passes the checks again, with its time to live and its attempts anew. What a check refuses stays dead,
    and the result says why.
    """
    wanted = _wanted(call, agent, sender, message_type, code, since, older)
    _check_choice(names, wanted, everything=everything)
    text = None
    if data is not None:
        if everything or len(names or ()) != 1:
            raise UsageError("--data is for one dead letter", hint="mas dlq retry LETTER --data PAYLOAD")
        (text,) = payloads(PayloadSource(data), call.stdin)
    async with open_system(call) as system:
        chosen = await _chosen(system, names, wanted if everything else None)
        if dry_run:
            return await _would(call, system, "retry", chosen)
        if everything and chosen:
            call.ask.named(f"this delivers {_count(chosen)} again", system.target.name)
        return await _carry_out(call, system, "retry", chosen, names, data=text, approve=approve, rate=rate)


async def drop(
    call: Invocation,
    names: Letters = None,
    *,
    everything: All = False,
    agent: Agent = "",
    sender: Sender = "",
    message_type: MessageType = "",
    code: Code = "",
    since: Since = None,
    older: Older = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Drop dead letters; for 24 hours mas dlq restore brings them back."""
    wanted = _wanted(call, agent, sender, message_type, code, since, older)
    _check_choice(names, wanted, everything=everything)
    async with open_system(call) as system:
        chosen = await _chosen(system, names, wanted if everything else None)
        if dry_run:
            return await _would(call, system, "drop", chosen)
        things = [f"dead letter {name}" for name in chosen]
        if things and (everything or len(things) > 1):
            call.ask.many(things, system.target.name)
        elif things:
            call.ask.one(things[0])
        return await _carry_out(call, system, "drop", chosen, names)


async def restore(
    call: Invocation,
    names: Letters = None,
    *,
    everything: All = False,
    agent: Agent = "",
    sender: Sender = "",
    message_type: MessageType = "",
    code: Code = "",
    since: Since = None,
    older: Older = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Bring back dead letters that were dropped in the last 24 hours."""
    wanted = _wanted(call, agent, sender, message_type, code, since, older, dropped=True)
    _check_choice(names, wanted, everything=everything)
    async with open_system(call) as system:
        chosen = await _chosen(system, names, wanted if everything else None)
        if dry_run:
            return await _would(call, system, "restore", chosen)
        return await _carry_out(call, system, "restore", chosen, names)


def _wanted(
    call: Invocation,
    agent: str,
    sender: str,
    message_type: str,
    code: str,
    since: str | None,
    older: str | None,
    *,
    dropped: bool = False,
) -> Wanted:
    from mas_core.ops.dead_letters import Wanted

    first = None if since is None else parse_moment(since, "--since", utc=call.flags.utc)
    before = None if older is None else parse_moment(older, "--older", utc=call.flags.utc)
    return Wanted(agent, sender, message_type, code, first, before, dropped)


def _check_choice(names: Sequence[str] | None, wanted: Wanted, *, everything: bool) -> None:
    from mas_core.ops.dead_letters import Wanted

    has_filter = wanted != Wanted(dropped=wanted.dropped)
    if names and (everything or has_filter):
        raise UsageError("name dead letters or choose them by options, not both", hint="leave the ids out")
    if not names and not everything:
        raise UsageError("which dead letters?", hint=("mas dlq list", "--all for all that the options leave"))


async def _chosen(
    system: System, names: Sequence[str] | None, wanted: Wanted | None
) -> dict[str, DeadLetter | None]:
    """Id or given name -> the dead letter, the oldest first; None for a name that has to be looked up."""
    if wanted is None:
        return dict.fromkeys(names or ())
    from mas_core.ops import dead_letters

    found = await dead_letters.list_letters(system, wanted)
    return {letter.id: letter for letter in reversed(found.letters)}


async def _would(
    call: Invocation, system: System, act: Act, chosen: dict[str, DeadLetter | None]
) -> ExitCode:
    from mas_core.ops.dead_letters import look_up

    rows, errors = [], []
    for name, known in chosen.items():
        letter, error = (known, None) if known else await look_up(system, act, name)
        rows.append(would_row(name, act, letter, error))
        errors += [error] if error else []
    if errors and len(rows) == 1:
        raise errors[0]
    call.out.records(CARRIED_COLUMNS, rows)
    if errors:
        raise PartlyFailed(f"{len(errors)} of {len(rows)} went another way: {errors[0].message}")
    call.talk.say(f"would {act} {_count(chosen)}")
    return ExitCode.OK


async def _carry_out(
    call: Invocation,
    system: System,
    act: Act,
    chosen: dict[str, DeadLetter | None],
    names: Sequence[str] | None,
    *,
    data: object = None,
    approve: bool = False,
    rate: float = 0,
) -> ExitCode:
    from mas_core.ops import dead_letters

    done: list[Carried] = []
    orders = dead_letters.order(system, act, list(chosen), data=data, approve=approve, rate=rate)
    with Progress(call.talk, len(chosen), "dead letters") as progress:
        async for carried in orders:
            done.append(carried)
            progress(len(done))
    errors = [carried.error for carried in done if carried.error is not None]
    if errors and len(done) == 1 and names and errors[0].code != "gateway_down":
        raise errors[0]
    call.out.records(CARRIED_COLUMNS, [carried_row(carried) for carried in done])
    if errors:
        raise PartlyFailed(f"{len(errors)} of {len(done)} went another way: {errors[0].message}")
    if act == "drop" and done:
        ids = " ".join(carried.id for carried in done[:5])
        call.talk.say(f"undo within 24 hours with: mas dlq restore {ids if len(done) <= 5 else '--all'}")
    call.talk.count(f"{DONE[act]} {_count(chosen)}")
    return ExitCode.OK


def _count(chosen: dict[str, DeadLetter | None]) -> str:
    return "1 dead letter" if len(chosen) == 1 else f"{len(chosen)} dead letters"
