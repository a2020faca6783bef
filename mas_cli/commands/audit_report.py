"""`mas audit report`: what the records of a period say about the controls of a standard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.progress import Progress
from mas_core.errors import Conflict, UsageError

if TYPE_CHECKING:
    from mas_core.ops.audit_report import Report

_CONTROLS = (
    Column("standard"),
    Column("control"),
    Column("title", flexible=True),
    Column("gaps", kind="number"),
    Column("gap", header="first gap", flexible=True),
)
_WRITTEN = (
    Column("path"),
    Column("format"),
    Column("records", kind="number"),
    Column("gaps", kind="number"),
    Column("intact"),
)
_ENDINGS = {".md": "md", ".html": "html", ".htm": "html", ".json": "json"}


async def report(
    call: Invocation,
    *,
    standard: Annotated[
        str,
        typer.Option(metavar="hipaa|soc2|gdpr|pci|all", help="One or several with commas between them."),
    ] = "all",
    period: Annotated[
        str,
        typer.Option(
            metavar="PERIOD",
            help="30d, 2026-Q3, 2026-11, 2026, 2026-11-21, or A..B with both ends inside; in UTC.",
        ),
    ] = "30d",
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="md|html|json", help="What to write; else what FILE ends with."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where to, mode 0600; one that exists is replaced with --yes only. - is standard output.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="FILE|VKEY",
            help="A public key that you have kept; else the folder's own word is taken.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with code 1 if there are gaps.")] = False,
) -> ExitCode:
    """Show which records support the controls of a standard, and which gaps there are.

    Without --out and --format the controls are listed with their gaps.
    A gap is something that a control needs and that this period does not show, such as a scan that is off.
    What a control asks for beyond all records is named in the report and is no gap.
    """
    from mas_core.ops import audit_report
    from mas_core.settings.private_files import write_private

    path = _destination(call, out)
    form = _format(format_name, path, audit_report.FORMATS)
    if form is None and out == "-":
        form = "md"
    standards = audit_report.parse_standards(standard)
    async with open_system(call) as system:
        with Progress(call.talk, 0, "records") as progress:
            found = await audit_report.report(system, standards, period, pinned=key or (), told=progress)
    gaps = len(found.gaps())
    if path is not None:
        written = form or "md"
        write_private(path, audit_report.render(found, written))
        call.out.record(
            _WRITTEN,
            {
                "path": str(path),
                "format": written,
                "records": found.records,
                "gaps": gaps,
                "intact": found.is_intact,
            },
        )
    elif form is not None:
        call.out.write_bytes(audit_report.render(found, form))
    elif call.out.format is Format.JSON:
        call.out.write_bytes(audit_report.render(found, "json"))
    else:
        call.out.records(_CONTROLS, _rows(found))
    if found.is_intact is False:
        call.talk.warn("the chain of the records is broken; mas audit verify says where")
    call.talk.count(f"{found.records} records, {gaps} {'gap' if gaps == 1 else 'gaps'}")
    return ExitCode.NO if strict and gaps else ExitCode.OK


def _rows(found: Report) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for item in found.standards:
        for control in item.controls:
            gaps = found.gaps_of(item, control)
            rows.append(
                {
                    "standard": item.name,
                    "control": control.id,
                    "title": control.title,
                    "gaps": len(gaps),
                    "gap": gaps[0].text if gaps else "",
                }
            )
    return rows


def _destination(call: Invocation, out: str | None) -> Path | None:
    """The file to write; None for standard output."""
    if out is None or out == "-":
        return None
    path = Path(out).expanduser()
    if path.is_dir():
        raise UsageError(f"--out: {out} is a folder", hint=f"--out {path / 'report.html'}")
    if path.exists() and not call.flags.yes:
        raise Conflict(f"--out: {out} exists", hint="--yes replaces it", path=str(path))
    return path


def _format(given: str | None, path: Path | None, known: tuple[str, ...]) -> str | None:
    """What --format says, or the ending of the file; None when neither says anything."""
    if given is not None:
        if given not in known:
            raise UsageError(f"--format: {given!r} is none of {', '.join(known)}")
        return given
    if path is None:
        return None
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"--out: {path.name} does not say its format", hint=f"--format {'|'.join(known)}")
    return _ENDINGS[path.suffix.lower()]
