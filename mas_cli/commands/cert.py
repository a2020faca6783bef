"""`mas cert`: the project's certificate authority, and the certificates of agents, operators and servers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system, project_of, target_of
from mas_cli.input.durations import parse_duration
from mas_cli.input.rule_flags import DryRun
from mas_cli.invocation import Invocation
from mas_cli.output.certificate_rows import (
    CERTIFICATE_COLUMNS,
    ISSUED_COLUMNS,
    certificate_row,
    inspected_columns,
)
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import MasError, UsageError

if TYPE_CHECKING:
    from mas_core.model.policy import PolicyDocument
    from mas_core.ops.certificates import Holder, Issued

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Id of the agent; name of the operator; host of the server.")
]
For = Annotated[str, typer.Option("--for", metavar="KIND", help="What NAME is: agent, operator or server.")]
Also = Annotated[
    list[str] | None,
    typer.Option("--also", metavar="HOST", help="Of a server: another name or address; repeat it."),
]
Why = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the revocation.")]


async def authority(
    call: Invocation,
    *,
    expires: Annotated[str, typer.Option(metavar="DUR", help="How long it counts.")] = "365d",
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new one; what the old one has issued counts on.")
    ] = False,
    drop_older: Annotated[
        bool, typer.Option("--drop-older", help="Trust nobody but the one that issues.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Drop older ones although certificates of theirs are in use.")
    ] = False,
    dry_run: DryRun = False,
) -> ExitCode:
    """Make the project's certificate authority; lists whom the project trusts then.

    Its key stays in .mas/certs/ca, in a file that only its owner can read. After --rotate the runner renews what
    it looks after; once all have new certificates, --drop-older ends the trust in the old authority. Certificates
    of other authorities need none of this: name those in tls_ca_path of mas.yaml.
    """
    seconds = parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops import certificates

        trusted = await certificates.make_authority(
            system, lifetime=seconds, rotate=rotate, drop_older=drop_older, force=force, dry_run=dry_run
        )
    call.out.records(CERTIFICATE_COLUMNS, [certificate_row(item) for item in trusted])
    if not dry_run:
        call.talk.say("give an agent a certificate with: mas cert issue AGENT")
    return ExitCode.OK


async def issue(
    call: Invocation,
    name: Name,
    *,
    kind: For = "agent",
    also: Also = None,
    expires: Annotated[str, typer.Option(metavar="DUR", help="How long it counts.")] = "24h",
    csr: Annotated[
        Path | None,
        typer.Option("--csr", metavar="FILE", help="A signing request: the key stays where it was made."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where it goes; where its holder looks for it if left out."),
    ] = None,
    key_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the key goes; into the same file if left out.")
    ] = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Issue a certificate with a new key, or for the key of a signing request.

    An agent has to be registered. The certificate says who it is, in spiffe://TRUST_DOMAIN/agent/ID, and what the
    signing request says of names is not looked at. The runner renews what lies where mas up looks for it, a third
    of its life before it ends.
    """
    seconds = parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops import certificates

        issued = await certificates.issue(
            system,
            _holder(name, kind, also),
            lifetime=seconds,
            request=csr,
            out=out,
            key_out=key_out,
            dry_run=dry_run,
        )
    _write_issued(call, issued)
    if not dry_run:
        call.talk.say(f"undo with: mas cert revoke --serial {issued.info.serial} --yes")
    return ExitCode.OK


async def list_certificates(
    call: Invocation,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Agents, operators, servers; all if left out."),
    ] = None,
) -> ExitCode:
    """List what was issued here and has not ended, what is revoked, and whom the project trusts."""
    async with open_system(call) as system:
        from mas_core.ops import certificates

        found = await certificates.list_certificates(system, names or ())
    call.out.records(CERTIFICATE_COLUMNS, [certificate_row(item) for item in found])
    call.talk.count(f"{len(found)} certificates")
    if not found and not names:
        call.talk.say("make an authority with: mas cert ca")
    return ExitCode.OK


async def revoke(
    call: Invocation,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Whose; needed where neither --serial nor --file says which."),
    ] = "",
    *,
    kind: For = "agent",
    serial: Annotated[str, typer.Option(metavar="HEX", help="Only the certificate of this number.")] = "",
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The certificate in this file.")
    ] = None,
    reason: Why = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Refuse certificates from now on, wherever they come from; servers follow within a second.

    With NAME all that were issued to it here. Certificates of other authorities are named by --serial or --file.
    """
    async with open_system(call) as system:
        from mas_core.ops import certificate_revocations

        holder = _holder(name, kind) if name else None
        if not dry_run:
            call.ask.one(_what(name, serial, file))
        revoked = await certificate_revocations.revoke(
            system, holder, serial=serial, file=file, reason=reason, dry_run=dry_run
        )
    call.out.records(CERTIFICATE_COLUMNS, [certificate_row(item) for item in revoked])
    if holder is not None and not dry_run:
        call.talk.say(f"give it another one with: mas cert rotate {name}")
    return ExitCode.OK


async def rotate(
    call: Invocation,
    name: Name,
    *,
    kind: For = "agent",
    also: Also = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="DUR", help="How long it counts; as long as the old one if left out."),
    ] = None,
    revoke_old: Annotated[
        bool, typer.Option("--revoke-old", help="Refuse the old one at once, instead of when it ends.")
    ] = False,
    reason: Why = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Put a new certificate with a new key where the old one lies; whoever uses it takes it without a restart."""
    seconds = 0 if expires is None else parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops import certificates

        issued = await certificates.rotate(
            system,
            _holder(name, kind, also),
            lifetime=seconds,
            revoke_old=revoke_old,
            reason=reason,
            dry_run=dry_run,
        )
    _write_issued(call, issued)
    if not revoke_old and not dry_run:
        call.talk.say("the old one counts until it ends; --revoke-old ends it at once")
    return ExitCode.OK


async def inspect(
    call: Invocation,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Certificates in PEM, or one in DER.")],
) -> ExitCode:
    """Show what the certificates in a file say, and whether a server would let somebody in with them.

    They may come from anywhere. Trust domain, authorities and revocations are those of the project here, if there
    is one; revocations are known while it runs. Exit code 1 when a server would refuse the first one.
    """
    from mas_core.ops import certificates

    found = certificates.inspect(file, project_of(call.flags))
    policy = await _policy(call)
    if policy is not None:
        found = certificates.inspect(file, project_of(call.flags), policy)
    rows = [{**certificate_row(item), "revocations_known": policy is not None} for item in found]
    if len(rows) == 1:
        call.out.record(inspected_columns(rows[0]), rows[0])
    else:
        call.out.records(CERTIFICATE_COLUMNS, rows)
    if policy is None:
        call.talk.say(
            "whether it was revoked is not known here: no system answers whose policy could be read"
        )
    refusal = found[0].refusal
    if refusal:
        call.talk.warn(refusal)
    return ExitCode.NO if refusal else ExitCode.OK


async def _policy(call: Invocation) -> PolicyDocument | None:
    """The policy of the system that the call leads to; None where none does, or where it may not be read."""
    from mas_core.model.policy import PolicyDocument
    from mas_core.ops.system import System

    with contextlib.suppress(MasError):
        async with System(target_of(call.flags)) as system:
            if system.access.problem is None:
                return await system.policy.load() or PolicyDocument()
    return None


def _holder(name: str, kind: str, also: list[str] | None = None) -> Holder:
    from mas_core.ops import certificates

    if also and kind != "server":
        raise UsageError("--also is for servers", hint="--for server")
    for known in certificates.HOLDER_KINDS:
        if kind == known:
            return certificates.Holder(known, name, tuple(also or ()))
    raise UsageError(f"--for: {kind!r} is none of {', '.join(certificates.HOLDER_KINDS)}")


def _what(name: str, serial: str, file: Path | None) -> str:
    if serial:
        return f"the certificate {serial}"
    return f"the certificate in {file}" if file is not None else f"every certificate of {name}"


def _write_issued(call: Invocation, issued: Issued) -> None:
    row = {
        **certificate_row(issued.info),
        "path": str(issued.certificate),
        "key_path": None if issued.key is None else str(issued.key),
        "revoked": [item.serial for item in issued.revoked],
    }
    call.out.record(ISSUED_COLUMNS, row)
