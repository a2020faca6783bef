"""`mas audit notary`, `mas audit key`, `mas audit resume`: who signs the audit, and with which key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system, target_of
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.output.run_reports import RunReport
from mas_cli.running import Lifetime, run_until_stopped
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.notary import EvidenceKey, NotaryStatus, PartitionEvidence

Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help="The evidence folder; as mas.yaml says if left out."),
]


def _coloured(state: object) -> Style | None:
    return {"signing": "good"}.get(str(state), "bad")  # type: ignore[return-value]


_PARTITIONS = (
    Column("id", style=lambda _: "name"),
    Column("partition", kind="number"),
    Column("state", style=_coloured),
    Column("records", kind="number"),
    Column("signed", kind="number"),
    Column("signed_at", header="last checkpoint", kind="age"),
    Column("witnesses", usual=[]),
    Column("folder", flexible=True),
    Column("host", flexible=True),
    Column("pid", kind="number"),
)
_KEYS = (
    Column("number", kind="number"),
    Column("vkey"),
    Column("current"),
)
_BEGUN = (
    Column("partition", kind="number"),
    Column("sequence", kind="number"),
    Column("problem", flexible=True),
)


def run(call: Invocation, *, folder: Folder = None) -> ExitCode:
    """Run the notary in the foreground: it signs the audit outside of the server.

    `mas up` runs one already. It keeps records, tree hashes and signed checkpoints in the evidence folder, a
    checkpoint at most a second or 256 records after a record, and stops where the store no longer continues
    what it has signed. Ctrl-C signs what is there and ends. Logs are JSON lines on standard error.
    """
    from mas_core.ops.notary import run_notary
    from mas_core.ops.program import log_to_stderr

    target = target_of(call.flags)
    report = RunReport(call)
    log_to_stderr()

    async def work(lifetime: Lifetime) -> None:
        report.lead(lifetime)
        await run_notary(target, lifetime.stop, report, folder=folder)

    run_until_stopped(call, work)
    return report.exit_code()


async def status(call: Invocation) -> ExitCode:
    """Show the notaries that run; exit code 1 when the audit is not signed or something is wrong.

    A partition is signing; unsigned, when the key cannot be used and records are only kept; unwritable, when
    the folder takes none; or refused, when the store's log does not continue what was signed.
    """
    async with open_system(call) as system:
        from mas_core.ops.notary import notaries_status

        found = await notaries_status(system)
    call.out.records(
        _PARTITIONS, [_row(notary, item) for notary in found.notaries for item in notary.partitions]
    )
    if not found.notaries:
        call.talk.say("no notary is running, the audit is not signed; start one with: mas audit notary run")
        return ExitCode.NO
    alarms = dict.fromkeys(alarm for notary in found.notaries for alarm in notary.alarms)
    for alarm in alarms:
        call.talk.warn(alarm)
    return ExitCode.NO if alarms else ExitCode.OK


async def show_key(call: Invocation, *, folder: Folder = None) -> ExitCode:
    """Show the public keys that checkpoints are signed with, the oldest first.

    Whoever verifies pins the first one, kept where the operator of this system cannot change it; from there the
    signed rotations lead to the others.
    """
    async with open_system(call) as system:
        from mas_core.ops.notary import key_info

        found = key_info(system.target, folder)
    call.out.records(_KEYS, [_key(item) for item in found])
    return ExitCode.OK


async def rotate_key(
    call: Invocation,
    *,
    folder: Folder = None,
    lost: Annotated[
        bool,
        typer.Option("--lost", help="The old key is gone: who verifies has to pin the new one."),
    ] = False,
) -> ExitCode:
    """Sign checkpoints with a new key from now on; the old one signs that this is so."""
    async with open_system(call) as system:
        from mas_core.ops.notary import rotate_key as rotate

        if lost:
            call.ask.one("the trust of everybody who pinned the old key")
        made = await rotate(system, folder, is_old_lost=lost)
    call.out.record(_KEYS, _key(made))
    if lost:
        call.talk.warn("the old key did not sign for this one: whoever verifies has to pin it")
    return ExitCode.OK


async def resume(
    call: Invocation,
    *,
    accept_restore: Annotated[
        bool,
        typer.Option("--accept-restore", help="Accept that the store is not what was signed."),
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands in the evidence.")] = "",
    folder: Folder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, and tell what would begin anew.")
    ] = False,
) -> ExitCode:
    """Sign on after a restore: partitions whose log was rolled back or replaced begin a new era.

    What was signed before stays as it is, under another name; the new era names its size, its root and the
    reason, so what the restore undid stays provable.
    """
    if not dry_run and not (accept_restore and reason.strip()):
        raise UsageError(
            "what the store lost since it was signed is accepted only with --accept-restore and --reason",
            hint=(
                "mas audit verify",
                "mas audit resume --accept-restore --reason 'restored after disk loss'",
            ),
        )
    async with open_system(call) as system:
        from mas_core.ops import notary

        refused = {
            item.partition: item
            for found in (await notary.notaries_status(system)).notaries
            for item in found.partitions
            if item.state == "refused"
        }
        begun = sorted(refused) if dry_run else await notary.accept_restore(system, reason, folder)
    if not begun:
        call.talk.say("every partition continues what was signed")
    call.out.records(
        _BEGUN,
        [
            {
                "partition": number,
                "sequence": refused[number].sequence if number in refused else None,
                "problem": refused[number].problem if number in refused else "",
            }
            for number in begun
        ],
    )
    return ExitCode.OK


def _row(notary: NotaryStatus, item: PartitionEvidence) -> Record:
    return {
        "id": notary.notary_id,
        "partition": item.partition,
        "state": item.state,
        "records": item.records,
        "signed": item.signed,
        "signed_at": moment(item.signed_at),
        "sequence": item.sequence or None,
        "problem": item.problem,
        "witnesses": [
            {
                "name": witness.name,
                "delivered": witness.delivered,
                "failures": witness.failures,
                "problem": witness.problem,
            }
            for witness in notary.witnesses
        ],
        "folder": notary.folder,
        "host": notary.host,
        "pid": notary.pid,
    }


def _key(item: EvidenceKey) -> Record:
    return {"number": item.number, "vkey": item.vkey, "current": item.is_current}
