"""`mas audit verify`, `prove` and `check-proof`: that the audit is what was written, and how to show it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.output.progress import Progress
from mas_core.errors import Conflict, UsageError

if TYPE_CHECKING:
    from mas_core.ops.evidence import Verified
    from mas_core.ops.export_signatures import SignedExport

_VERIFIED = (
    Column("partition", kind="number"),
    Column("place"),
    Column("ok"),
    Column("records", kind="number"),
    Column("verified_to", kind="number"),
    Column("first_bad", kind="number"),
    Column("kind"),
    Column("head"),
    Column("problem", flexible=True),
)
_PROOF = (Column("path"), Column("seq", kind="number"), Column("bytes", kind="number"))
_SIGNED = (
    Column("ok"),
    Column("path"),
    Column("rows", kind="number"),
    Column("sha256", flexible=True),
    Column("written", kind="time"),
    Column("chain_holds"),
    Column("key", flexible=True),
)
_PROVEN = (
    Column("ok"),
    Column("seq", kind="number"),
    Column("time", kind="time"),
    Column("kind"),
    Column("decision"),
    Column("sender", header="from"),
    Column("target", header="to"),
    Column("type"),
    Column("message_id"),
    Column("log"),
    Column("size", kind="number"),
    Column("signed", kind="time"),
)

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="FILE|KEY", help="A public key to trust: name+hash+base64, or a file with some."
    ),
]


async def verify(
    call: Invocation,
    places: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Exported records, JSON Lines or segments, oldest first."),
    ] = None,
    *,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="An evidence folder or an export of one; no system is needed."),
    ] = None,
    key: Keys = None,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH", help="Checkpoints of a second place: a file, or the folder of a witness."
        ),
    ] = None,
    from_seq: Annotated[
        int, typer.Option("--from-seq", metavar="N", help="With --folder: older records are not part of it.")
    ] = 1,
    partition: Annotated[int, typer.Option(metavar="P", help="Which partition the files are of.")] = 0,
    head: Annotated[
        str, typer.Option(metavar="HASH", help="With files: the hash of the last record, as it was kept.")
    ] = "",
) -> ExitCode:
    """Prove that no record was changed, removed or put in.

    Without a folder and files, the store is held against its chain and against the evidence folder, and the
    evidence folder against its tree and every checkpoint. What is wrong is called by its name: edited, deleted,
    inserted, reordered, duplicated, truncated, rolled_back, rewritten, segment_missing, checkpoint_forged,
    checkpoint_missing, key_replaced; first_bad is the first record that is not what it was, and everything up to
    verified_to is beyond doubt.

    Without --key the keys in the folder are taken as they are, and a note says so.
    """
    from mas_core.ops import evidence

    if folder is not None and places:
        raise UsageError("--folder or files, not both")
    if from_seq < 1 or (from_seq > 1 and folder is None):
        raise UsageError("--from-seq is a record number, and goes with --folder")
    if head and not places:
        raise UsageError("--head goes with files")
    pinned, outside = key or [], checkpoints or []
    if folder is not None or places:
        found = await asyncio.to_thread(
            lambda: evidence.verify_export(
                [folder] if folder is not None else places or [],
                pinned=pinned, checkpoints=outside, from_seq=from_seq, partition=partition, head=head,
            )
        )  # fmt: skip
    else:
        async with open_system(call) as system:
            with Progress(call.talk, 0, "records") as progress:
                found = await evidence.verify_evidence(
                    system, pinned=pinned, checkpoints=outside, told=progress
                )
    call.out.records(_VERIFIED, [_verdict(item) for item in found])
    return _concluded(call, found)


async def prove(
    call: Invocation,
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="Number of a record, SEQ or PARTITION:SEQ, or id of a message."),
    ],
    *,
    out: Annotated[str, typer.Option(metavar="FILE", help="Where to; - is standard output.")] = "-",
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="An evidence folder or an export of one; no system is needed."),
    ] = None,
) -> ExitCode:
    """Write a proof that one record is in the signed log; whoever has the public key can check it."""
    from mas_core.ops import evidence
    from mas_core.settings.private_files import write_private

    path = _destination(call, out)
    if folder is not None:
        seq, proof = await asyncio.to_thread(evidence.prove_exported, folder, identifier)
    else:
        async with open_system(call) as system:
            seq, proof = await evidence.prove_record(system, identifier)
    if path is None:
        call.out.write_bytes(proof + b"\n")
    else:
        write_private(path, proof + b"\n")
        call.out.record(_PROOF, {"path": str(path), "seq": seq, "bytes": len(proof) + 1})
    return ExitCode.OK


async def check_proof(
    call: Invocation,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The proof, or FILE.manifest.note beside an export.")
    ],
    *,
    key: Keys = None,
) -> ExitCode:
    """Check the proof of a record, or the signature of an export, with a public key; no system is needed.

    docs/check_proof.py does the same in forty lines, without mas.
    """
    from mas_core.errors import ProofInvalid
    from mas_core.ops import evidence, export_signatures

    try:
        if export_signatures.is_signature(file):
            return _signed(call, export_signatures.check_signature(file, key or []))
        proven = evidence.check_proof(file, key or [])
    except ProofInvalid as error:
        call.out.record(_PROVEN[:1], {"ok": False})
        call.talk.warn(error.message)
        return ExitCode.NO
    record, checkpoint = proven.record, proven.checkpoint
    call.out.record(
        _PROVEN,
        {
            "ok": True,
            **{
                name: getattr(record, name)
                for name in ("seq", "kind", "decision", "sender", "target", "type")
            },
            "message_id": record.message_id,
            "time": moment(record.time),
            "log": checkpoint.origin,
            "size": checkpoint.size,
            "signed": moment(checkpoint.time),
        },
    )
    return ExitCode.OK


def _signed(call: Invocation, found: SignedExport) -> ExitCode:
    about = found.manifest
    holds = all(part["chain_holds"] for part in about["partitions"])
    call.out.record(
        _SIGNED,
        {
            "ok": True,
            "path": str(found.path),
            **{name: about[name] for name in ("rows", "sha256", "written")},
            "chain_holds": holds,
            "key": str(found.key),
        },
    )
    if not holds:
        call.talk.warn("it is what was signed, and its manifest says that the chain was broken")
    return ExitCode.OK


def _destination(call: Invocation, out: str) -> Path | None:
    """The file to write; None for standard output."""
    if out == "-":
        return None
    path = Path(out).expanduser()
    if path.exists() and not call.flags.yes:
        raise Conflict(f"--out: {out} exists", hint="--yes replaces it", path=str(path))
    return path


def _verdict(found: Verified) -> Record:
    result = found.result
    return {
        "partition": found.partition,
        **{name: getattr(result, name) for name in result.__struct_fields__},
        "notes": list(result.notes),
    }


def _concluded(call: Invocation, found: Sequence[Verified]) -> ExitCode:
    for item in found:
        where = f"the {item.result.place} of partition {item.partition}"
        for note in item.result.notes:
            call.talk.warn(f"{where}: {note}")
        if not item.result.ok:
            call.talk.warn(f"{where} does not hold: {item.result.problem}")
            if item.result.verified_to >= item.result.first:
                call.talk.warn(f"records {item.result.first} to {item.result.verified_to} are beyond doubt")
    if any(not item.result.ok for item in found):
        return ExitCode.NO
    partitions = {item.partition for item in found}
    total = sum(max(item.result.records for item in found if item.partition == one) for one in partitions)
    call.talk.count(f"{total} records in {len(partitions)} partitions, every one as it was written")
    return ExitCode.OK
