"""Every command as data, for programs: what `mas spec` prints and the completion table is made from."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from mas_cli.command_table import COMMANDS, Command
from mas_cli.input.shared_flags import SHARED_FLAGS
from mas_cli.output.exit_codes import ExitCode

_SHARED_NAMES = {"help", *(spec.name for spec in SHARED_FLAGS)}
_EVERYWHERE = (ExitCode.OK, ExitCode.USAGE)
_SYSTEM = (ExitCode.UNREACHABLE, ExitCode.TIMED_OUT)
_ENDINGS = (ExitCode.BUG, ExitCode.INTERRUPTED, ExitCode.PIPE_CLOSED, ExitCode.TERMINATED)
_GUARDED = {"read": (), "write": (), "destroy": (ExitCode.CANCELLED,)}


def exit_codes(entry: Command) -> dict[int, str]:
    """Every exit code of a command and when it ends so."""
    common = (*_EVERYWHERE, *(_SYSTEM if entry.scope == "system" else ()), *_GUARDED[entry.impact], *_ENDINGS)
    found = {int(code): code.meaning for code in common} | dict(entry.exit_codes)
    return dict(sorted(found.items()))


def specification(entries: Iterable[Command] = COMMANDS) -> dict[str, list[dict[str, object]]]:
    """The commands, and the flags that all of them have, as one JSON document."""
    shared: list[dict[str, object]] = [
        {
            "flags": list(spec.declarations),
            "help": spec.help,
            "value": spec.metavar,
            "env": spec.env,
        }
        for spec in SHARED_FLAGS
    ]
    return {"commands": [describe(entry) for entry in entries], "shared_flags": shared}


def describe(entry: Command) -> dict[str, object]:
    """One command as JSON, without the shared flags."""
    from mas_cli.command_parser import parser_for

    parser = parser_for(entry)
    context = parser.context_class(parser, info_name=f"mas {entry.name}")
    parameters = parser.get_params(context)
    return {
        "name": entry.name,
        "summary": entry.summary,
        "impact": entry.impact,
        "scope": entry.scope,
        "output": entry.output,
        "description": further_text(parser),
        "examples": list(entry.examples),
        "exit_codes": [
            {"code": code, "name": ExitCode(code).label, "when": when}
            for code, when in exit_codes(entry).items()
        ],
        "arguments": [_argument(item) for item in parameters if item.param_type_name == "argument"],
        "flags": [
            _flag(item)
            for item in parameters
            if item.param_type_name == "option" and item.name not in _SHARED_NAMES
        ],
    }


def further_text(parser: Any) -> str:
    """What the docstring of a command says beyond its summary."""
    return inspect.cleandoc(parser.help or "").partition("\n\n")[2]


def _argument(parameter: Any) -> dict[str, object]:
    return {
        "name": parameter.display_name_raw,
        "help": parameter.help or "",
        "required": parameter.required,
        "repeated": parameter.nargs == -1,
    }


def _flag(parameter: Any) -> dict[str, object]:
    return {
        "flags": sorted([*parameter.opts, *parameter.secondary_opts], key=len, reverse=True),
        "help": parameter.help or "",
        "value": "" if parameter.is_flag or parameter.count else parameter.metavar or "TEXT",
        "repeated": bool(parameter.multiple or parameter.count),
        "default": parameter.default if isinstance(parameter.default, str | int | float) else None,
    }
