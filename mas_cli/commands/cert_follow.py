"""`mas cert follow`: certificates of a SPIFFE Workload API, in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment

if TYPE_CHECKING:
    from mas_core.ops.workload_api import Followed

_COLUMNS = (
    Column("spiffe_id", header="SPIFFE ID", whole=True, style=lambda _: "name"),
    Column("serial"),
    Column("expires", kind="time"),
    Column("authorities", kind="number"),
    Column("path"),
)


async def follow(
    call: Invocation,
    *,
    workload_api: Annotated[
        str, typer.Option(metavar="SOCKET", help="Its socket, such as unix:///run/spire/agent.sock.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the files.")],
    spiffe_id: Annotated[
        str, typer.Option(metavar="URI", help="Which certificate, of several; the first if left out.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Write what it says now, and end.")] = False,
) -> ExitCode:
    """Keep files up to date with what SPIRE, or another Workload API, says; until Ctrl-C.

    DIR/svid.pem holds certificate and key, DIR/authorities.pem whom to trust. Agents and the server take what is
    new in them without a restart: name them in tls_cert_path, tls_key_path and tls_ca_path.
    """
    from mas_core.ops import workload_api as following

    if once:
        call.out.record(_COLUMNS, _row(await following.fetch(workload_api, out, spiffe_id=spiffe_id)))
        return ExitCode.OK
    told = 0

    def tell(written: Followed) -> None:
        nonlocal told
        call.out.event(_COLUMNS, _row(written), first=told == 0)
        told += 1

    await following.follow(workload_api, out, tell, spiffe_id=spiffe_id)
    return ExitCode.OK


def _row(written: Followed) -> dict[str, object]:
    return {
        "spiffe_id": written.spiffe_id,
        "serial": written.serial,
        "expires": moment(written.expires),
        "authorities": written.authorities,
        "path": str(written.path),
        "authorities_path": str(written.authorities_path),
    }
