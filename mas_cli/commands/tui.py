"""`mas tui`: the dashboard."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mas_cli.connection import target_of
from mas_cli.invocation import Invocation
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import UsageError


async def tui(
    call: Invocation,
    *,
    screen: Annotated[
        str, typer.Option(metavar="NAME", help="Begin with this screen: its name or number.")
    ] = "1",
) -> ExitCode:
    """Show the system live, and act on it: what happens, who runs, what waits, what is forbidden, what is recorded.

    `?` tells the keys, `a` what can be done to a row, `:` goes anywhere by name. Nothing that destroys has a key
    of its own. The dashboard does nothing that commands cannot do, and shows the command of whatever it did.
    """
    if not (call.stdin.isatty() and call.out.is_terminal) or os.environ.get("TERM") == "dumb":
        raise UsageError("the dashboard needs a terminal", hint=("mas status", "mas watch"))
    target = target_of(call.flags)
    from mas_cli.tui.app import Dashboard
    from mas_cli.tui.board import Board
    from mas_cli.tui.screens import PANES
    from mas_core.ops.system import System

    titles = [kind.title for kind in PANES]
    wanted = (
        int(screen)
        if screen.isdecimal()
        else 1
        + next(
            (place for place, title in enumerate(titles) if title.lower().startswith(screen.lower())),
            len(titles),
        )
    )
    if not 1 <= wanted <= len(titles):
        raise UsageError(f"there is no screen {screen!r}", hint=f"--screen {'|'.join(titles).lower()}")
    board = Board(target, read_only=target.read_only or call.flags.read_only)
    async with System(target) as system:
        await Dashboard(board, system, first=wanted).run_async()
    return ExitCode.OK
