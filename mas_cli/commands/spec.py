"""`mas spec`: the whole command line as data."""

from __future__ import annotations

from typing import Annotated

import typer

from mas_cli.command_table import COMMANDS
from mas_cli.errors import TopicNotFound
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.reference.command_spec import specification

_COLUMNS = (Column("name"), Column("impact"), Column("scope"), Column("summary", flexible=True))


def spec(
    call: Invocation,
    command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Only this command, such as 'context add'.")
    ] = None,
) -> ExitCode:
    """Describe every command as JSON.

    Names, arguments, flags, environment twins, examples, impact and exit codes, for programs that drive mas.
    """
    entries = tuple(entry for entry in COMMANDS if command in {None, entry.name})
    if not entries:
        raise TopicNotFound(f"there is no command {command!r}", hint="mas spec --output name")
    found = specification(entries)
    if call.out.format in {Format.JSON, Format.YAML}:
        call.out.document(found)
    else:
        call.out.records(_COLUMNS, found["commands"])
    return ExitCode.OK
