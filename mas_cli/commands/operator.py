"""`mas operator`: who works on the system, and in which role."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment

if TYPE_CHECKING:
    from mas_core.model.operators import OperatorRecord

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the operator.")]
RoleName = Literal["viewer", "operator", "security", "auditor"]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where the file is written; ./NAME.operator if left out.")
]
Expires = Annotated[
    str | None, typer.Option(metavar="DUR", help="How long the file counts; for ever if left out.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and tell what would be changed.")]

_COLUMNS = (
    Column("name", style=lambda _: "name"),
    Column("role"),
    Column("proof"),
    Column("key_id"),
    Column("created", kind="time"),
    Column("expires", kind="time"),
    Column("by", flexible=True),
)
_MADE = (*_COLUMNS[:4], Column("expires", kind="time"), Column("path", flexible=True))


async def add(
    call: Invocation,
    name: Name,
    *,
    role: Annotated[RoleName, typer.Option(help="What the operator may do: docs/operators.md.")],
    out: Out = None,
    expires: Expires = None,
    certificate: Annotated[
        bool, typer.Option("--certificate", help="Known by a certificate instead of a token in the file.")
    ] = False,
    dry_run: DryRun = False,
) -> ExitCode:
    """Make somebody an operator, and write the file that proves it.

    Hand the file over in a way that nobody else can read. It holds a token, which proves who acts, and the part
    of the gateway's keys that the role needs. Who gets it says:
    mas context add NAME --url URL --operator FILE, or sets MAS_OPERATOR.
    With the first operator everybody is asked who they are, but the owner of .mas/keys.
    With --certificate the file holds no token: a certificate for spiffe://TRUST-DOMAIN/operator/NAME, from an
    authority that the project trusts now, has to be shown beside it.
    """
    seconds = 0 if expires is None else parse_duration(expires, "--expires")
    path = _path(out, name)
    async with open_system(call) as system:
        from mas_core.ops import operators

        if dry_run:
            await operators.rehearse(system, name, path)
            call.talk.say(f"{name} would be an operator with the role {role}, and {path} be written")
            return ExitCode.OK
        made = await operators.add(system, name, role, path, expires_in=seconds, by_certificate=certificate)
    _write_made(call, name, made.record, made.path)
    if certificate:
        call.talk.say(f"issue the certificate with: mas cert issue {name} --for operator --out {name}.pem")
    call.talk.say(f"undo with: mas operator remove {name} --yes")
    return ExitCode.OK


async def list_operators(call: Invocation) -> ExitCode:
    """List who works on the system, and in which role."""
    async with open_system(call) as system:
        from mas_core.ops import operators

        found = await operators.operators(system)
    call.out.records(_COLUMNS, [_row(name, record) for name, record in found.items()])
    call.talk.count(
        f"{len(found)} operators" + ("" if found else "; whoever has the gateway's keys does all")
    )
    return ExitCode.OK


async def remove(call: Invocation, name: Name) -> ExitCode:
    """End an operator: the file that was given out counts no more.

    The keys in the file cannot be taken back: end the user of the server that goes with them too.
    """
    async with open_system(call) as system:
        from mas_core.ops import operators

        await operators.get(system, name)
        call.ask.one(f"the operator {name}")
        removed = await operators.remove(system, name)
    call.out.record(_COLUMNS, _row(name, removed))
    call.talk.say(f"undo with: mas operator add {name} --role {removed.role}")
    return ExitCode.OK


async def set_role(
    call: Invocation,
    name: Name,
    role: Annotated[RoleName, typer.Argument(help="The role from now on.")],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a new file, with the keys of the new role.")
    ] = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Give an operator another role; in force when this returns.

    Without --out the operator keeps the file and with it the keys of the role before: what is new needs a new one.
    """
    async with open_system(call) as system:
        from mas_core.ops import operators

        before = await operators.get(system, name)
        if dry_run:
            call.talk.say(f"{name} would have the role {role} instead of {before.role}")
            return ExitCode.OK
        made = await operators.set_role(system, name, role, out)
    _write_made(call, name, made.record, made.path)
    call.talk.say(f"undo with: mas operator role set {name} {before.role}")
    return ExitCode.OK


async def rotate(
    call: Invocation,
    name: Name,
    *,
    out: Out = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DUR", help="How long the new file counts; as before if left out.")
    ] = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Make a new file for an operator; the old one counts no more when this returns.

    For an operator who is known by certificates, those of the authorities that the project trusts now count.
    """
    seconds = None if expires is None else parse_duration(expires, "--expires")
    path = _path(out, name)
    async with open_system(call) as system:
        from mas_core.ops import operators

        if dry_run:
            record = await operators.get(system, name)
            ending = f"the token {record.key.key_id}" if record.key else "the file"
            call.talk.say(f"{ending} of {name} would end, and {path} be written")
            return ExitCode.OK
        made = await operators.rotate(system, name, path, expires_in=seconds)
    _write_made(call, name, made.record, made.path)
    return ExitCode.OK


def _path(out: Path | None, name: str) -> Path:
    return (out or Path(f"{name}.operator")).absolute()


def _write_made(call: Invocation, name: str, record: OperatorRecord, path: Path | None) -> None:
    call.out.record(_MADE, {**_row(name, record), "path": None if path is None else str(path)})
    if path is not None:
        call.talk.say(f"whoever has it says: mas context add NAME --url URL --operator {path.name}")


def _row(name: str, record: OperatorRecord) -> Record:
    return {
        "name": name,
        "role": record.role,
        "proof": "token" if record.key else "certificate",
        "key_id": record.key.key_id if record.key else None,
        "created": moment(record.created),
        "expires": moment(record.key.expires) if record.key else None,
        "by": record.by,
    }
