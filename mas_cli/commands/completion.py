"""`mas completion`: scripts that make TAB work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mas_cli.completion.scripts import SCRIPTS, installed_path
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import ConfigurationError, UsageError


def bash(call: Invocation) -> ExitCode:
    """Script for bash."""
    return _script(call, "bash")


def zsh(call: Invocation) -> ExitCode:
    """Script for zsh."""
    return _script(call, "zsh")


def fish(call: Invocation) -> ExitCode:
    """Script for fish."""
    return _script(call, "fish")


def install(
    call: Invocation,
    shell: Annotated[
        str | None, typer.Argument(metavar="bash|zsh|fish", help="The shell; that of $SHELL when left out.")
    ] = None,
) -> ExitCode:
    """Put the script where the shell looks for it.

    The script goes to the completion folder of the user; no start-up file is changed.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SCRIPTS:
        raise UsageError(
            f"there are no completions for {name or 'an unknown shell'}",
            hint=[f"mas completion install {known}" for known in SCRIPTS],
        )
    data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = installed_path(name, data_home, config_home)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SCRIPTS[name][1])
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    call.out.record([Column("path"), Column("shell")], {"path": str(path), "shell": name})
    if name == "zsh":
        call.talk.say(f"in ~/.zshrc, before compinit: fpath=({path.parent} $fpath)")
    call.talk.say(f"works in new shells; undo with: rm {path}")
    return ExitCode.OK


def _script(call: Invocation, shell: str) -> ExitCode:
    _, script = SCRIPTS[shell]
    call.out.text(script, {"shell": shell, "script": script})
    return ExitCode.OK
