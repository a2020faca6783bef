"""`mas tui`: the dashboard, of a running system or of a recording, in the terminal or in a browser."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mas_cli.connection import admitted, project_of, target_of
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import MasError, UsageError

if TYPE_CHECKING:
    from mas_cli.tui.app import Dashboard
    from mas_core.ops.system import System
    from mas_core.settings.project import Project

DEFAULT_PORT = 8321
_KEY_COLUMNS = (Column("id"), Column("key"), Column("what", flexible=True))


async def tui(
    call: Invocation,
    what: Annotated[
        Literal["keys"] | None, typer.Argument(metavar="[keys]", help="keys: list what each key does.")
    ] = None,
    *,
    screen: Annotated[
        str, typer.Option(metavar="NAME", help="Begin with this screen: its name or number.")
    ] = "1",
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Show what mas record wrote, without the system.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show it in a web browser.")] = False,
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="Port of --serve.")] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(metavar="ADDR", help="Address of --serve.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Serve other machines too; needs --password-file.")
    ] = False,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What has to be typed before anything is served.")
    ] = None,
) -> ExitCode:
    """Show the system live, and act on it: what happens, who runs, what waits, what is forbidden, what is recorded.

    `?` tells the keys, `a` what can be done to a row, `:` goes anywhere by name. Nothing that destroys has a key
    of its own. The dashboard does nothing that commands cannot do, and shows the command of whatever it did.
    """
    if what == "keys":
        return _list_keys(call)
    if serve:
        from mas_cli.tui.web import WebOptions, serve_dashboard

        if replay is None:
            target_of(call.flags)
        options = WebOptions(host, port, allow_remote, password_file)
        await serve_dashboard(call, options, screen, replay)
        return ExitCode.OK
    is_web = os.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")
    if not is_web and (
        not (call.stdin.isatty() and call.out.is_terminal) or os.environ.get("TERM") == "dumb"
    ):
        raise UsageError(
            "the dashboard needs a terminal", hint=("mas status", "mas watch", "mas tui --serve")
        )
    if replay is not None:
        await _replayed(call, replay, screen).run_async()
        return ExitCode.OK
    target = target_of(call.flags)
    from mas_cli.tui.app import Dashboard
    from mas_cli.tui.board import Board

    board = Board(target, read_only=target.read_only or call.flags.read_only)
    board.tries = _tries_of(target.project)
    keys = _keys_of(target.project)
    async with AsyncExitStack() as stack:

        async def opened() -> System:
            # Imported beside the drawing: it takes longer than the first frame.
            await asyncio.to_thread(import_module, "mas_core.ops.status")
            from mas_core.ops.system import System

            system = await stack.enter_async_context(System(target))
            await stack.enter_async_context(admitted(system, call, target))
            return system

        dashboard = Dashboard(board, None, first=_number_of(screen), keys=keys, opening=opened)
        await dashboard.run_async()
    if dashboard.opening_error is not None:
        raise dashboard.opening_error
    return ExitCode.OK


def _replayed(call: Invocation, path: Path, screen: str) -> Dashboard:
    from mas_cli.tui.app import Dashboard
    from mas_cli.tui.board import Board
    from mas_cli.tui.replay import Replay
    from mas_core.ops import recordings
    from mas_core.settings.target import Target

    header = recordings.header_of(path)
    entries = recordings.read(path)
    board = Board(Target(url="", name=header.context), read_only=True)
    board.replay = Replay(board, path, entries)
    return Dashboard(board, None, feed=board.replay, first=_number_of(screen), keys=_keys_of(_project(call)))


def _number_of(screen: str) -> int:
    from mas_cli.tui.screens import PANES

    titles = [kind.title.lower() for kind in PANES]
    if screen.isdecimal() and 1 <= int(screen) <= len(titles):
        return int(screen)
    for number, title in enumerate(titles, 1):
        if title.startswith(screen.lower()):
            return number
    raise UsageError(f"there is no screen {screen!r}", hint=f"--screen {'|'.join(titles)}")


def _project(call: Invocation) -> Project | None:
    """The project, where there is one: keys are the only thing of it that is needed."""
    try:
        return project_of(call.flags)
    except MasError:
        return None


def _keys_of(project: Project | None) -> Mapping[str, str]:
    if project is None:
        return {}
    from mas_core.settings.project_config import load_config

    return load_config(project).config.tui.keys


def _tries_of(project: Project | None) -> tuple[str, ...]:
    """Commands of the project's own examples; those of nobody in particular where there is none."""
    from mas_cli.welcome import talking_steps
    from mas_core.settings.project_config import load_config

    with contextlib.suppress(MasError):
        if project is not None:
            loaded = load_config(project)
            return tuple(talking_steps(loaded, loaded.specs()))
    return ()


def _list_keys(call: Invocation) -> ExitCode:
    from mas_cli.tui.key_table import KEYS, keymap

    chosen = keymap(_keys_of(_project(call)))
    rows = [
        {"id": key.id, "key": chosen.get(key.id, key.keys), "what": key.label, "usual": key.keys}
        for key in KEYS
    ]
    call.out.records(_KEY_COLUMNS, rows)
    return ExitCode.OK
