"""`mas key`: the public keys of agents, and keys of their own for end-to-end encryption."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.keys import KeyInfo, MadeKey

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Id of the agent.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="The private key goes there; beside the token if left out."),
]
Expires = Annotated[str | None, typer.Option(metavar="DUR", help="How long it counts; for ever if left out.")]

_COLUMNS = (
    Column("agent", whole=True, style=lambda _: "name"),
    Column("key_id", whole=True),
    Column("type"),
    Column("use"),
    Column("status"),
    Column("created", header="age", kind="age"),
    Column("expires", kind="time"),
    Column("fingerprint", flexible=True),
)
_MADE = (*_COLUMNS[:5], Column("expires", kind="time"), Column("fingerprint"), Column("path"))


async def generate(
    call: Invocation,
    agent_id: AgentId,
    *,
    kind: Annotated[
        str, typer.Option("--type", metavar="x25519|rsa", help="x25519 for HPKE, rsa for RSA-OAEP.")
    ] = "x25519",
    out: Out = None,
    expires: Expires = None,
) -> ExitCode:
    """Make a key pair with which an agent decrypts what is encrypted for it.

    The private key goes to a private file (mode 0600) and nowhere else, the public one to the registry. Agents
    without such a key decrypt with the one that derives from their token, so few need this.
    """
    seconds = 0 if expires is None else parse_duration(expires, "--expires")
    if kind not in ("x25519", "rsa"):
        raise UsageError(f"--type: {kind!r} is neither x25519 nor rsa")
    async with open_system(call) as system:
        from mas_core.ops import keys

        made = await keys.generate(
            system, agent_id, "rsa" if kind == "rsa" else "x25519", out=out, expires_in=seconds
        )
    _write_made(call, made)
    return ExitCode.OK


async def list_keys(
    call: Invocation,
    agent_ids: Annotated[
        list[str] | None, typer.Argument(metavar="AGENT", help="Ids of agents; all if left out.")
    ] = None,
) -> ExitCode:
    """List the public keys of agents.

    The fingerprint is what to compare by another way, and to pin; a token has one for each use, all of them and
    the public keys themselves in JSON.
    """
    async with open_system(call) as system:
        from mas_core.ops import keys

        found = await keys.list_keys(system, agent_ids or ())
    call.out.records(_COLUMNS, [_row(item) for item in found])
    call.talk.count(f"{len(found)} keys")
    return ExitCode.OK


async def import_key(
    call: Invocation,
    agent_id: AgentId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A public or private key in PEM.")],
    *,
    out: Out = None,
    expires: Expires = None,
) -> ExitCode:
    """Take a key that exists already for messages to an agent.

    Of a public key only that is needed; a private key has to be in a file that only its owner can read, and is
    copied to where the agent finds it.
    """
    seconds = 0 if expires is None else parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops import keys

        made = await keys.import_key(system, agent_id, file, out=out, expires_in=seconds)
    _write_made(call, made)
    return ExitCode.OK


async def rotate(
    call: Invocation,
    agent_id: AgentId,
    *,
    kind: Annotated[
        str,
        typer.Option("--type", metavar="token|x25519|rsa", help="Which; what its newest is if left out."),
    ] = "",
    grace: Annotated[str, typer.Option(metavar="DUR", help="How long the older ones still count.")] = "1h",
    out: Out = None,
    expires: Expires = None,
) -> ExitCode:
    """Make a new key in place of an agent's older ones, which count a little longer.

    With --type token it does what mas agent token rotate does. An agent takes a new token when it is started
    again, which has to be within the grace; a key that lies beside its token it takes by itself.
    """
    lasting = parse_duration(grace, "--grace")
    seconds = 0 if expires is None else parse_duration(expires, "--expires")
    async with open_system(call) as system:
        from mas_core.ops import keys

        made = await keys.rotate(system, agent_id, kind, grace=lasting, out=out, expires_in=seconds)
    _write_made(call, made)
    return ExitCode.OK


async def revoke(
    call: Invocation,
    agent_id: AgentId,
    *,
    key: Annotated[
        str, typer.Option(metavar="ID", help="Only the key with this id; all and all tokens if left out.")
    ] = "",
) -> ExitCode:
    """End keys of an agent at once; without --key its tokens too, so that it can do nothing any more."""
    async with open_system(call) as system:
        from mas_core.ops import keys

        await system.registry.get(agent_id)
        call.ask.one(f"the key {key} of {agent_id}" if key else f"every key and token of {agent_id}")
        revoked = await keys.revoke(system, agent_id, key)
    call.out.records((*_COLUMNS[:5], Column("revoked", kind="time")), [_row(item) for item in revoked])
    call.talk.say(f"make a new token with: mas agent token rotate {agent_id}")
    return ExitCode.OK


def _write_made(call: Invocation, made: MadeKey) -> None:
    path = None if made.path is None else str(made.path)
    call.out.record(_MADE, {**_row(made.info), "path": path})
    call.talk.say(f"undo with: mas key revoke {made.info.agent} --key {made.info.key_id} --yes")


def _row(item: KeyInfo) -> dict[str, object]:
    fingerprints = item.fingerprints
    return {
        "agent": item.agent,
        "key_id": item.key_id,
        "type": item.type,
        "use": list(fingerprints),
        "status": item.status,
        "age": round(item.age),
        "created": moment(item.created),
        "expires": moment(item.expires),
        "revoked": moment(item.revoked),
        "fingerprint": next(iter(fingerprints.values()), ""),
        "fingerprints": fingerprints,
        "public_keys": item.public_keys,
    }
