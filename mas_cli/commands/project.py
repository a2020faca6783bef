"""`mas init`: a new project."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode


def init(
    call: Invocation,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Its folder, made if missing; this one if left out.")
    ] = Path(),
    *,
    partitions: Annotated[
        int, typer.Option("--partitions", metavar="N", help="How many partitions; more only on a cluster.")
    ] = 1,
) -> ExitCode:
    """Make a project with one agent, ready to run.

    Files that are there already stay as they are.
    """
    from mas_core.ops.project import FIRST_AGENT, init_project

    written = init_project(folder, partitions=partitions)
    call.out.records((Column("path"),), [{"path": str(path)} for path in written])
    call.talk.say("next:")
    if folder.resolve() != Path.cwd():
        call.talk.say(f"  cd {shlex.quote(str(folder))}")
    call.talk.say("  mas up")
    call.talk.say(
        f'  mas request {FIRST_AGENT} {FIRST_AGENT}.greet \'{{"name":"Ada"}}\'    in another terminal'
    )
    return ExitCode.OK
