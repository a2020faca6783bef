"""`mas audit export`: records for somebody else's eyes, with what proves that they are all and unchanged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.audit_flags import (
    Actor,
    Found,
    Kind,
    MessageType,
    RuleId,
    Sender,
    Since,
    Target,
    Until,
    Wanted,
    filter_of,
)
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.progress import Progress
from mas_core.errors import Conflict, UsageError

if TYPE_CHECKING:
    from mas_core.ops.audit_exports import ExportResult, Position
    from mas_core.ops.audit_files import FileExport
    from mas_core.ops.system import System

LAST = "last"
_EXPORTED = (
    Column("path"), Column("rows", kind="number"), Column("sha256"), Column("heads"), Column("manifest"),
    Column("signature"),
)  # fmt: skip
_COPIED = (
    Column("partition", kind="number"), Column("first", kind="number"), Column("last", kind="number"),
    Column("files", kind="number"), Column("bytes", kind="number"), Column("path"),
)  # fmt: skip


async def export(
    call: Invocation,
    *,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|json|jsonl|parquet",
            help="What to write; what --output says, else jsonl.",
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Where to, mode 0600; one that exists is replaced with --yes only. - is standard output.",
        ),
    ] = "-",
    sender: Sender = "",
    target: Target = "",
    message_type: MessageType = "",
    decision: Wanted = "",
    kind: Kind = "",
    rule: RuleId = "",
    finding: Found = "",
    actor: Actor = "",
    since: Since = None,
    until: Until = None,
    bookmark: Annotated[
        str, typer.Option(metavar="NAME", help="Keep where this export ends, for --since last.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an export to this file that was interrupted.")
    ] = False,
    cloudevents: Annotated[
        bool,
        typer.Option("--cloudevents", help="Each record in a CloudEvents envelope; json and jsonl only."),
    ] = False,
    sign: Annotated[
        bool,
        typer.Option(
            "--sign", help="Sign the file and its manifest with the key of the audit: FILE.manifest.note."
        ),
    ] = False,
    evidence: Annotated[
        str,
        typer.Option(
            metavar="DIR", help="Copy segments, hashes, checkpoints and public keys there, to verify offline."
        ),
    ] = "",
) -> ExitCode:
    """Write audit records to a file, exactly as they are stored.

    --output csv, json or jsonl counts as --format where that is left out.
    The number of rows, their SHA-256 and the head of the chain are told on standard error, and stand with the
    newest checkpoint in FILE.manifest.json. The chain is verified on the way: where it is broken the export is
    complete nevertheless, and the exit code is 1. --since last goes on after the last export with the same
    --bookmark, which moves only when an export is complete and holds.
    What --sign wrote is checked anywhere by mas audit check-proof FILE.manifest.note --key audit.pub.
    """
    from mas_core.ops import audit_bookmarks, audit_exports, audit_files, export_signatures

    if evidence:
        if (
            out != "-"
            or format_name is not None
            or resume
            or bookmark
            or cloudevents
            or sign
            or since == LAST
        ):
            raise UsageError("--evidence copies the evidence itself and goes with --since and --until only")
        return await _copy_evidence(call, _expanded(evidence), since, until)
    is_next = since == LAST
    bookmark = bookmark or ("export" if is_next else "")
    wanted = filter_of(
        utc=call.flags.utc, sender=sender, target=target, message_type=message_type, decision=decision,
        kind=kind, rule=rule, finding=finding, actor=actor, since=None if is_next else since, until=until,
    )  # fmt: skip
    if bookmark and until is not None:
        raise UsageError("--until would leave a hole before the bookmark", hint="leave --until out")
    path = _destination(call, out, resume=resume)
    if sign and path is None:
        raise UsageError("--sign signs a file", hint="--out FILE")
    format_name = _export_format(call, format_name, audit_exports.FORMATS, to_file=path is not None)
    async with open_system(call) as system:
        after = _after(call, system, bookmark) if is_next else {}
        if bookmark:
            audit_bookmarks.bookmark_path(system, bookmark)
        request = audit_exports.ExportRequest(format_name, wanted, cloudevents, after)
        keys = export_signatures.signing_keys(system) if sign else None
        written = None
        if path is not None and not resume and audit_files.interrupted(path):
            call.talk.warn(f"an export to {path} was interrupted; this one begins anew")
        with Progress(call.talk, 0, "records") as progress:
            if path is None:
                export = audit_exports.Export(system, request, warn=call.talk.warn, told=progress)
                done = await export.run(call.out.write_bytes)
            else:
                written = await audit_files.export_to_file(
                    system, request, path, resume=resume, warn=call.talk.warn, told=progress, keys=keys
                )
                done = written.result
        code = _concluded(call, done)
        if bookmark and code is ExitCode.OK:
            audit_bookmarks.keep_bookmark(system, bookmark, done.positions)
    _told(call, done, written)
    return code


def _after(call: Invocation, system: System, bookmark: str) -> Mapping[int, Position]:
    from mas_core.ops.audit_bookmarks import read_bookmark

    found = read_bookmark(system, bookmark)
    if found is None:
        call.talk.say(f"there is no bookmark {bookmark} yet: the whole log is exported")
    return found or {}


def _expanded(path: str) -> Path:
    return Path(path).expanduser()


async def _copy_evidence(call: Invocation, path: Path, since: str | None, until: str | None) -> ExitCode:
    from mas_core.ops import audit_evidence

    span = filter_of(utc=call.flags.utc, since=since, until=until)
    async with open_system(call) as system:
        copied = audit_evidence.copy_evidence(system, path, since=span.since, until=span.until)
    call.out.records(_COPIED, [{**item._asdict(), "path": str(item.path)} for item in copied])
    call.talk.say(f"to check it anywhere: mas audit verify --folder {path}")
    return ExitCode.OK


def _told(call: Invocation, done: ExportResult, written: FileExport | None) -> None:
    heads = {str(part.partition): part.result.head if part.result else "" for part in done.partitions}
    if written is not None and call.out.format is not Format.TABLE:
        call.out.record(
            _EXPORTED,
            {
                "path": str(written.path),
                "rows": done.rows,
                "sha256": done.sha256,
                "heads": heads,
                "manifest": str(written.manifest),
                "signature": str(written.signature) if written.signature else None,
            },
        )
    call.talk.say(f"rows     {done.rows}")
    call.talk.say(f"sha-256  {done.sha256}")
    for partition, head in heads.items():
        call.talk.say(f"head     {head} (partition {partition})")
    if written is None:
        return
    if written.path.suffix == ".jsonl" and len(heads) == 1:
        (head,) = heads.values()
        call.talk.count(f"to check it anywhere: mas audit verify {written.path} --head {head}")
    if written.signature is not None:
        call.talk.count(f"to check who wrote it: mas audit check-proof {written.signature} --key audit.pub")


def _destination(call: Invocation, out: str, *, resume: bool) -> Path | None:
    """The file to write; None for standard output."""
    if out == "-":
        if resume:
            raise UsageError("--resume goes on with a file", hint="--out FILE")
        if call.out.is_terminal:
            raise UsageError("an export is written byte by byte, not to a terminal", hint="--out FILE")
        return None
    path = Path(out).expanduser()
    if path.is_dir():
        raise UsageError(f"--out: {out} is a folder", hint=f"--out {path / 'audit.jsonl'}")
    if path.exists() and not call.flags.yes:
        raise Conflict(f"--out: {out} exists", hint="--yes replaces it", path=str(path))
    return path


def _export_format(call: Invocation, given: str | None, known: Collection[str], *, to_file: bool) -> str:
    """What --format says, or --output in its place."""
    if given is not None:
        if given not in known:
            raise UsageError(f"--format: {given!r} is none of {', '.join(known)}")
        return given
    shown = call.out.format
    if shown in known:
        return shown.value
    if shown is not Format.TABLE and not to_file:
        raise UsageError(f"an export is not written as {shown}", hint=f"--format {'|'.join(known)}")
    return "jsonl"


def _concluded(call: Invocation, done: ExportResult) -> ExitCode:
    broken = [part for part in done.partitions if part.result is not None and not part.result.ok]
    for part in broken:
        if part.result is not None:
            call.talk.warn(f"the chain of partition {part.partition} is broken: {part.result.problem}")
    if not broken:
        total = sum(part.result.records for part in done.partitions if part.result is not None)
        call.talk.count(f"{total} records in {len(done.partitions)} partitions, every one as it was written")
    return ExitCode.NO if broken else ExitCode.OK
