"""`mas audit archive` and `restore`: segments go to a cold place and come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system, required_project
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode

if TYPE_CHECKING:
    from mas_core.ops.archive import Kept

_COLUMNS = (
    Column("partition", kind="number"),
    Column("copied", kind="number"),
    Column("archived", kind="number"),
    Column("trimmed", kind="number"),
    Column("trimmed_to", header="to", kind="number"),
    Column("deleted", kind="number"),
    Column("stopped", header="why no further", flexible=True),
)
_RESTORED = (Column("segment"), Column("folder", flexible=True))


async def archive(
    call: Invocation,
    *,
    to: Annotated[
        str,
        typer.Option(metavar="URL", help="A folder, or s3://..., gcs://...; else gateway.audit.archive.url."),
    ] = "",
    trim: Annotated[
        bool, typer.Option("--trim/--no-trim", help="Take old records out of the store, or only copy.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at everything, change nothing, and tell what would be.")
    ] = False,
) -> ExitCode:
    """Copy closed segments to the archive, and take what is proven safe there out of the store.

    Records leave the store when they are older than the retention in force says, lie in closed segments that a
    checkpoint covers, and the archive gives these back; without an archive the evidence folder counts. Where
    every retention in force says so, segments are deleted after their years, and leave their hashes.
    """
    async with open_system(call) as system:
        from mas_core.ops import archive as archives

        run = await archives.archive(
            system,
            url=to,
            trim=trim,
            dry_run=dry_run,
            on_copied=lambda name: call.talk.progress(f"copied {name}"),
        )
        call.talk.progress("")
    call.out.records(_COLUMNS, [_row(kept) for kept in run.partitions])
    if dry_run:
        call.talk.say("nothing was changed yet")
    elif not run.where:
        call.talk.say("no archive is set, so the evidence folder alone keeps segments: --to URL")
    problems = [kept.problem for kept in run.partitions if kept.problem is not None]
    for problem in problems:
        call.talk.warn(problem.message)
    if not problems:
        return ExitCode.OK
    if len(problems) < len(run.partitions):
        return ExitCode.PARTIAL
    raise problems[0]


async def restore(
    call: Invocation,
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="The archive; else gateway.audit.archive.url.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Make a whole evidence folder there, which must be empty."),
    ] = None,
) -> ExitCode:
    """Bring archived segments back: those that are missing here, or with --out a whole folder.

    What comes back is proven first: a segment has to be in the tree that the checkpoints sign.
    """
    from mas_core.ops import archive as archives

    project = None if source and out is not None else required_project(call.flags)
    done = await archives.restore(project, url=source, out=out)
    call.out.records(_RESTORED, [{"segment": name, "folder": str(done.folder)} for name in done.segments])
    if out is not None:
        call.talk.say(f"check it with: mas audit verify --folder {out}")
    elif not done.segments:
        call.talk.say("nothing is missing")
    return ExitCode.OK


def _row(kept: Kept) -> Record:
    return {
        "partition": kept.partition,
        "copied": len(kept.copied),
        "archived": kept.archived,
        "trimmed": kept.trimmed,
        "trimmed_to": kept.trimmed_to or None,
        "deleted": len(kept.deleted),
        "stopped": kept.stopped,
        "segments": list(kept.copied),
        "deleted_segments": list(kept.deleted),
        "error": kept.problem.code if kept.problem is not None else None,
    }
