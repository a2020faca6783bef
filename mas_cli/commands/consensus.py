"""`mas consensus`: votes of agents, and proof of what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.input.sending_flags import OPERATOR, As
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, with_rest
from mas_cli.output.coordination_rows import VOTE_COLUMNS, vote_row, vote_style
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, snapshot, watch_snapshots, watched
from mas_core.errors import UsageError
from mas_core.model.vote import ACCEPTED, REJECTED, Motion

if TYPE_CHECKING:
    from mas_core.ops.consensus import Result, Trail

VoteId = Annotated[str, typer.Argument(metavar="ID", help="Id of the vote, as in mas consensus list.")]

_SHOWN = (
    Column("id", style=lambda _: "name"),
    Column("title", flexible=True),
    Column("state", style=vote_style),
    Column("choice"),
    Column("weights"),
    Column("needed", kind="number"),
    Column("missing"),
)


async def open_vote(
    call: Invocation,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What is proposed, in a line.")],
    *,
    voters: Annotated[
        list[str] | None, typer.Option(metavar="A,B", help="Who may vote, each with one vote; repeatable.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="AGENT=N", help="Who may vote, with a weight of its own; repeatable."),
    ] = None,
    strategy: Annotated[
        str, typer.Option(metavar="simple|super|unanimous|weighted|ranked", help="How it is decided.")
    ] = "simple",
    option: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="What can be chosen; yes and no if left out.")
    ] = None,
    threshold: Annotated[
        str, typer.Option(metavar="SHARE", help="Share that wins in super and weighted votes: 2/3.")
    ] = "",
    quorum: Annotated[
        str, typer.Option(metavar="SHARE", help="Share of all weight that has to be cast: 1/2.")
    ] = "",
    deadline: Annotated[str, typer.Option(metavar="DUR", help="How long each round is open.")] = "60s",
    byzantine: Annotated[
        bool,
        typer.Option(
            "--byzantine", help="Exclude who votes twice; more than two thirds of all weight decide."
        ),
    ] = False,
    on_tie: Annotated[
        str, typer.Option(metavar="revote|delegate|escalate|status_quo|order", help="In this order: A,B.")
    ] = "",
    on_stall: Annotated[
        str, typer.Option(metavar="revote|delegate|escalate|status_quo", help="In this order: A,B.")
    ] = "",
    rounds: Annotated[int, typer.Option(metavar="N", help="Rounds of voting at most.")] = 3,
    delegate: Annotated[str, typer.Option(metavar="AGENT", help="Who decides where voters do not.")] = "",
    status_quo: Annotated[
        str | None, typer.Option(metavar="OPTION", help="What changes nothing; no, if that is an option.")
    ] = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="More about it.")] = "",
    proposal_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="An id of your own; a new one if left out.")
    ] = "",
    as_agent: As = OPERATOR,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the result; ask again for re-votes.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Open nothing, and show what would be proposed.")
    ] = False,
) -> ExitCode:
    """Propose something, and ask the participants for their votes.

    Each participant gets a message, which the policy has to allow, and votes by its handler or by mas consensus
    vote. Participants, weights and options do not change once it is open. Without --wait nobody asks the
    participants again where a re-vote begins.
    """
    motion = Motion(
        title=title,
        participants=_participants(voters or [], weight or []),
        description=description,
        options=tuple(option) if option else ("yes", "no"),
        strategy=strategy,
        threshold=threshold,
        quorum=quorum,
        deadline=parse_duration(deadline, "--deadline"),
        byzantine=byzantine,
        on_tie=on_tie,
        on_stall=on_stall,
        max_rounds=rounds,
        delegate=delegate,
        status_quo=status_quo,
    )
    from mas_core.ops import consensus

    name = proposal_id or consensus.new_proposal_id()
    proposal = consensus.check(motion, name, as_agent)
    if dry_run:
        call.out.record(_SHOWN[:2], {"id": name, "title": title, "proposal": consensus.document(proposal)})
        call.talk.say("nothing was opened")
        return ExitCode.OK
    result: Result | None = None
    async with open_system(call) as system, consensus.consensus(system, as_agent) as votes:
        opened = await votes.propose_motion(motion, proposal_id)
        name = opened.proposal.id
        for voter, why in opened.unreached.items():
            call.talk.warn(f"{voter} could not be asked: {why}")
        if wait:
            call.talk.say(f"{name} is open; waiting for its result")
            result = await opened.wait()
    record: dict[str, object] = {
        "id": name,
        "title": title,
        "state": "open" if result is None else result.outcome,
        "choice": None if result is None else result.choice,
        "decided_by": None if result is None else result.decided_by,
        "deadline": moment(opened.proposal.opened + opened.proposal.deadline_ms),
        "participants": dict(opened.proposal.participants),
        "unreached": dict(opened.unreached),
    }
    call.out.record((*VOTE_COLUMNS[:4], Column("deadline", kind="time")), record)
    if result is None:
        call.talk.say(f"follow it with: mas consensus status {name} --watch")
    return _code("" if result is None else result.outcome)


async def vote(
    call: Invocation,
    proposal_id: VoteId,
    choice: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHOICE", help="An option; in a ranked vote several, the best first."),
    ] = None,
    *,
    abstain: Annotated[bool, typer.Option("--abstain", help="Vote for none.")] = False,
    as_agent: As = OPERATOR,
) -> ExitCode:
    """Cast a ballot, signed with the key of the agent. The same ballot again changes nothing."""
    if abstain == bool(choice):
        raise UsageError("name what to vote for, or --abstain", hint=f"mas consensus status {proposal_id}")
    async with open_system(call) as system:
        from mas_core.ops import consensus

        async with consensus.consensus(system, as_agent) as votes:
            outcome = await votes.vote(proposal_id, choice or None)
    call.out.record(
        (Column("id"), Column("voter"), Column("choice"), Column("outcome")),
        {"id": proposal_id, "voter": as_agent, "choice": choice or [], "outcome": outcome},
    )
    return ExitCode.OK


async def status(
    call: Invocation,
    proposal_id: VoteId,
    *,
    watch: Watch = None,
    count: Count = None,
    duration: For = None,
    until: Until = None,
) -> ExitCode:
    """Show how a vote stands; exit code 1 when it was rejected. With --watch that is of the last look."""
    how = watched(watch, count, duration, until)
    async with open_system(call) as system:
        from mas_core.ops import consensus

        found = await consensus.trail(system, proposal_id)

        async def look() -> Snapshot:
            nonlocal found
            found = await consensus.trail(system, proposal_id)
            return snapshot(Shown(_SHOWN, [_standing(found)], key="id", is_single=True))

        if how is None:
            record = _standing(found)
            call.out.record(with_rest(_SHOWN, record), record)
        else:
            await watch_snapshots(call, look, how)
    return _code(found.state)


async def list_votes(
    call: Invocation,
    *,
    state: Annotated[
        str, typer.Option(metavar="open|escalated|accepted|rejected", help="Only those that stand so.")
    ] = "",
) -> ExitCode:
    """List the votes that are open or ended within the last hour; the audit has all there ever were."""
    if state not in {"", "open", "escalated", ACCEPTED, REJECTED}:
        raise UsageError(f"--state: {state!r} is none of open, escalated, accepted and rejected")
    async with open_system(call) as system:
        from mas_core.ops import consensus

        rows = [row for row in await consensus.votes(system) if not state or row.state == state]
    call.out.records(VOTE_COLUMNS, [vote_row(row) for row in rows])
    call.talk.count("1 vote" if len(rows) == 1 else f"{len(rows)} votes")
    return ExitCode.OK


async def close(
    call: Invocation,
    proposal_id: VoteId,
    *,
    choice: Annotated[
        str | None, typer.Option(metavar="OPTION", help="What an escalated vote is decided for; '' for none.")
    ] = None,
    as_agent: As = OPERATOR,
) -> ExitCode:
    """End a vote now by the ballots that are there; or, with --choice, decide one that was escalated.

    Only its proposer ends a vote before its time, and only the operator that the proposal names decides an
    escalated one.
    """
    async with open_system(call) as system:
        from mas_core.ops import consensus

        async with consensus.consensus(system, as_agent) as votes:
            await votes.close(proposal_id, choice)
        record = _standing(await consensus.trail(system, proposal_id))
    call.out.record(with_rest(_SHOWN, record), record)
    return ExitCode.OK


def _participants(voters: list[str], weights: list[str]) -> dict[str, int | float]:
    named: dict[str, int | float] = {}
    for name in (part.strip() for text in voters for part in text.split(",")):
        if name:
            named[name] = 1
    for text in weights:
        name, equals, number = text.partition("=")
        if not equals or not number.isdigit():
            raise UsageError(f"--weight: {text!r} is not AGENT=N", hint="--weight ann=2")
        named[name] = int(number)
    return named


def _code(state: str) -> ExitCode:
    return ExitCode.NO if state == REJECTED else ExitCode.OK


def _standing(found: Trail) -> dict[str, object]:
    from mas_core.ops import consensus

    proposal, turn, result = found.proposal, found.rounds[-1], found.result
    return {
        "id": proposal.id,
        "title": proposal.title,
        "state": found.state,
        "choice": None if result is None else result.choice,
        "decided_by": None if result is None else result.decided_by,
        "reason": None if result is None else result.reason,
        "proposer": proposal.proposer,
        "strategy": proposal.strategy,
        "byzantine": proposal.is_byzantine,
        "round": turn.number,
        "deadline": None if turn.closed else moment(turn.deadline),
        **consensus.standing(found),
    }
