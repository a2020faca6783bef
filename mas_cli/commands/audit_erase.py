"""`mas audit erase`: one subject's payloads, made unreadable for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.erasure import Erasure

_COLUMNS = (
    Column("change"),
    Column("what"),
    Column("count", kind="number"),
    Column("why", flexible=True),
)


async def erase(
    call: Invocation,
    erased_subject: Annotated[
        str, typer.Argument(metavar="[SUBJECT]", help="Whose payloads; or --subject.")
    ] = "",
    *,
    subject_flag: Annotated[
        str, typer.Option("--subject", metavar="SUBJECT", help="The same, where it begins with a dash.")
    ] = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the audit keeps it.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Erase nothing, and tell what would be erased and what stays.")
    ] = False,
) -> ExitCode:
    """Destroy the key of a subject, so that sealed copies of its payloads can never be read again.

    The chain is not changed and verifies as before. That it was done is recorded, without the subject's name.
    """
    if bool(erased_subject) == bool(subject_flag):
        raise UsageError("whose payloads?", hint="mas audit erase SUBJECT --reason TEXT")
    if not reason and not dry_run:
        raise UsageError("an erasure needs a reason", hint="--reason 'request of 2026-11-20'")
    async with open_system(call) as system:
        from mas_core.ops import erasure

        subject = erased_subject or subject_flag
        if not dry_run:
            call.ask.one("the only key to what is kept of this subject's payloads")
        done = await erasure.erase(
            system,
            subject,
            reason=reason,
            dry_run=dry_run,
            on_counted=lambda count: call.talk.progress(f"{count:,} records"),
        )
        call.talk.progress("")
    call.out.records(_COLUMNS, _rows(done, dry_run=dry_run))
    call.talk.say("nothing was changed yet" if dry_run else f"the key {done.key_id} is gone; no undo")
    return ExitCode.OK


def _rows(done: Erasure, *, dry_run: bool) -> list[dict[str, object]]:
    change = "would be erased" if dry_run else "erased"
    gone = {
        "change": change,
        "what": "sealed copies of payloads",
        "count": done.copies,
        "why": f"their key {done.key_id} is destroyed",
    }
    stays = [
        {"change": "stays", "what": item.what, "count": item.count, "why": item.why} for item in done.stays
    ]
    return [gone, *stays]
