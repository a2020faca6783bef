"""`mas man`: the command reference as man pages."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.reference.man_pages import man_pages
from mas_core.errors import ConfigurationError


def man(
    call: Invocation,
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write to; it is made where it is missing.")
    ],
) -> ExitCode:
    """Write a man page for each command.

    In a folder man1 of a place that man knows (manpath shows them), `man mas-status` finds its page.
    """
    pages = man_pages(version("mas"))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (out / name).write_text(text, encoding="ascii")
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}") from error
    call.out.records([Column("page"), Column("path", flexible=True)], _rows(out, pages))
    call.talk.say(f"read one with: man {out.resolve() / 'mas.1'}")
    return ExitCode.OK


def _rows(out: Path, pages: dict[str, str]) -> list[dict[str, object]]:
    return [{"page": name.removesuffix(".1"), "path": str(out / name)} for name in pages]
