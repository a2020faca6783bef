"""`mas doctor`: everything that can be checked from here, and what to type about what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.completion.scripts import SCRIPTS, installed_path
from mas_cli.connection import project_of, target_of
from mas_cli.errors import ReadOnly
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mas_core.ops.checks.finding import Check, Finding
    from mas_core.ops.checks.look import CompletionFile, Look

_SIGNS = {"ok": "✓", "warn": "!", "red": "✗"}
_STYLES: dict[str, Style] = {"✓": "good", "!": "warn", "✗": "bad"}
_COLUMNS = (
    Column("sign", header=" ", style=lambda sign: _STYLES.get(str(sign))),
    Column("check", style=lambda _: "name"),
    Column("message", header="found", flexible=True),
    Column("fix", header="try", whole=True, usual=""),
)


async def doctor(
    call: Invocation,
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="NAME", help="Only this check, as mas check --list names it; repeatable."
        ),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what only touches your own files: modes, completions.")
    ] = False,
    bundle: Annotated[
        str,
        typer.Option(metavar="FILE", help="Put what support needs into a zip, after showing what that is."),
    ] = "",
) -> ExitCode:
    """Look at this machine, the project, the server and what runs, and say what is wrong.

    Each line is one thing: well (✓), to be looked at (!) or wrong (✗), with the command that mends it. Exit code
    1 when something is wrong. A server that does not answer is a line like the others. --bundle leaves out keys,
    tokens, messages, states and what agents print, masks passwords, and asks before it writes.
    """
    from mas_core.ops.checks import table

    checks = table.chosen(only or ())
    seen = await _look(call, checks)
    found = table.diagnosis(checks, seen)
    if fix and (repairs := [item.repair for item in found if item.repair]):
        if call.flags.read_only:
            raise ReadOnly("--fix changes files, and --read-only was given", hint="leave out --fix")
        for repair in repairs:
            call.talk.say(repair())
        found = table.diagnosis(checks, await _look(call, checks))
    call.out.records(_COLUMNS, [_row(item) for item in found])
    _conclude(call, found, fixed=fix)
    if bundle:
        call.out.flush()
        _bundle(call, Path(bundle), seen, found)
    return ExitCode.NO if any(item.status == "red" for item in found) else ExitCode.OK


async def _look(call: Invocation, checks: Sequence[Check]) -> Look:
    from mas_core.ops.checks.look import look

    needs = {check.needs for check in checks}
    return await look(lambda: target_of(call.flags), project_of(call.flags), needs, _completion())


def _bundle(call: Invocation, path: Path, seen: Look, found: list[Finding]) -> None:
    from mas_core.ops.checks.bundle import bundle_files, check_new, write_bundle

    check_new(path)
    files = bundle_files(seen, found)
    width = max(len(file.name) for file in files)
    listed = [f"{file.name:<{width}}  {len(file.text.encode()):>8} bytes  {file.what}" for file in files]
    call.ask.agree(listed, f"Write these {len(files)} files to {path}?")
    write_bundle(path, files)
    call.talk.say(f"{path} was written; look into it before you send it: unzip -p {path} | less")


def _completion() -> CompletionFile | None:
    from mas_core.ops.checks.look import CompletionFile

    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in SCRIPTS:
        return None
    data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return CompletionFile(shell, installed_path(shell, data_home, config_home), SCRIPTS[shell][1])


def _conclude(call: Invocation, found: list[Finding], *, fixed: bool) -> None:
    wrong = sum(item.status == "red" for item in found)
    doubtful = sum(item.status == "warn" for item in found)
    call.talk.count(f"{len(found)} looked at: {wrong} wrong, {doubtful} to look at")
    if not fixed and (count := sum(item.repair is not None for item in found)):
        call.talk.say(f"mas doctor --fix mends {count} of them")


def _row(finding: Finding) -> Record:
    return {
        "sign": _SIGNS[finding.status],
        "check": finding.check,
        "status": finding.status,
        "message": finding.message,
        "fix": finding.fix,
        "can_fix": finding.repair is not None,
    }
