"""`mas consensus verify` and `export`: what was decided, recomputed by whoever wants to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.safe_text import safe_text
from mas_core.errors import Conflict, UsageError

if TYPE_CHECKING:
    from mas_core.ops.consensus import Verification


async def verify(
    call: Invocation,
    proposal_id: Annotated[
        str, typer.Argument(metavar="[ID]", help="Id of a vote of the system; or use --file.")
    ] = "",
    *,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An exported trail; no system is needed.")
    ] = None,
    public_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AGENT=HEX", help="Ed25519 key of a voter, got by another way; then no other counts."
        ),
    ] = None,
) -> ExitCode:
    """Recompute a vote from its signed ballots, and say what does not follow from them.

    Of a vote of the system, the voters' keys have to be those of the registry, unless these have changed since, and
    its trail the very one that the audit names. Of a file, the keys in it are taken as they are and listed, unless
    --public-key gives those that count.
    """
    from mas_core.ops import consensus

    if bool(proposal_id) == (file is not None):
        raise UsageError("the id of a vote, or --file", hint="mas consensus list")
    pins = _pins(public_key or [])
    if file is not None:
        trail = consensus.read_trail(file)
        found = consensus.verify(trail, pins or None)
        in_audit = None
        if not pins:
            call.talk.warn("the voters' keys in the file are taken as they are; --public-key gives others")
    else:
        async with open_system(call) as system:
            trail = await consensus.trail(system, proposal_id)
            in_audit = await consensus.proof(system, trail) if trail.result is not None else None
            used = consensus.keys_of(trail)
            known = {**await consensus.known_keys(system, used), **pins}
            for voter in used.keys() - pins.keys():
                if in_audit is not None and in_audit.ok and not used[voter] <= known.get(voter, set()):
                    call.talk.warn(
                        f"{voter} has another key by now: that this one was its own is what the audit says"
                    )
                    known[voter] = known.get(voter, set()) | used[voter]
            found = consensus.verify(trail, known)
    problems = list(found.problems)
    if in_audit is not None and not in_audit.ok:
        problems.append("the audit's record of the decision is of another trail")
    keys = {voter: sorted(given) for voter, given in sorted(consensus.keys_of(trail).items())}
    call.out.text(
        _verified(found, problems, keys),
        {
            "ok": not problems,
            "id": trail.proposal.id,
            "problems": problems,
            "recomputed": found.recomputed,
            "result": None if found.result is None else found.result.outcome,
            "choice": None if found.result is None else found.result.choice,
            "keys": keys,
            "trail": trail.digest(),
            "in_audit": None if in_audit is None else in_audit.ok,
        },
    )
    return ExitCode.NO if problems else ExitCode.OK


async def export(
    call: Invocation,
    proposal_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the vote, as in mas consensus list.")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to, mode 0600; replaces with --yes only."),
    ] = None,
) -> ExitCode:
    """Write the trail of a vote: all that mas consensus verify --file needs."""
    if out is not None and out.exists() and not call.flags.yes:
        raise Conflict(f"{out} exists already", hint="--yes to replace it")
    async with open_system(call) as system:
        from mas_core.ops import consensus

        found = await consensus.trail(system, proposal_id)
    if out is None:
        call.out.document(consensus.as_document(found))
    else:
        consensus.write_trail(out, found)
        call.out.record((Column("id"), Column("path")), {"id": proposal_id, "path": str(out)})
    return ExitCode.OK


def _pins(given: list[str]) -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    for text in given:
        name, equals, key = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--public-key: {text!r} is not AGENT=HEX")
        pins.setdefault(name, set()).add(key.lower())
    return pins


def _verified(found: Verification, problems: list[str], keys: dict[str, list[str]]) -> str:
    lines = [safe_text(line) for line in found.recomputed]
    lines += [f"key      {safe_text(voter)} {key}" for voter, given in keys.items() for key in given]
    lines += [f"problem  {safe_text(problem)}" for problem in problems]
    lines.append("no: this does not follow from the ballots" if problems else "ok: recomputed as recorded")
    return "\n".join(lines)
