"""`mas demo`: the samples, each run in this process."""

from __future__ import annotations

from typing import Annotated

import typer

from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.safe_text import safe_text
from mas_cli.samples import sample, samples
from mas_core.errors import UsageError

_LIST = (Column("protocol", style=lambda _: "name"), Column("about", flexible=True))
_SAID = (Column("protocol"), Column("line", flexible=True))


async def demo(
    call: Invocation,
    *,
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="Which; all are listed where this is left out.")
    ] = "",
    agents: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=100, help="How many agents take part; 0 for as many as suit."),
    ] = 0,
) -> ExitCode:
    """Show how agents work together: a small program that tells what it does.

    Everything runs in this process, with a gateway and a store of its own, and is gone when it ends.
    The programs stand in the folder examples; each is one file to begin from.
    """
    if not protocol:
        if agents:
            raise UsageError(
                "--agents needs a --protocol", hint=f"mas demo --protocol fan-out --agents {agents}"
            )
        found = samples()
        call.out.records(_LIST, [{"protocol": item.name, "about": item.about} for item in found])
        call.talk.say(f"run one with: mas demo --protocol {found[0].name}")
        return ExitCode.OK
    chosen = sample(protocol)
    is_whole = call.out.format in {Format.JSON, Format.YAML}
    said: list[Record] = []

    def say(text: str) -> None:
        said.append({"protocol": chosen.name, "line": text})
        if call.out.format is Format.TABLE:
            call.out.write(safe_text(text) + "\n")
            call.out.flush()
        elif not is_whole:
            call.out.event(_SAID, said[-1], first=len(said) == 1)

    await (chosen.main()(agents, say) if agents else chosen.main()(say=say))
    if is_whole:
        call.out.records(_SAID, said)
    call.talk.say(f"it stands in {chosen.path}")
    return ExitCode.OK
