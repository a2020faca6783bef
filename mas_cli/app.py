"""The root of the command line: finds the command, runs it, and turns every end into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mas_cli.errors import OutputClosed, OutputFailed, Terminated
from mas_cli.input.shared_flags import typed_values, wants_json_errors
from mas_cli.output.exit_codes import ExitCode, exit_code_of
from mas_cli.output.streams import flush_or_discard, standard_error, write_page
from mas_cli.routing import Route, route
from mas_core.errors import ConfigurationError, InternalError, MasError, UsageError


def main(words: Sequence[str] | None = None) -> int:
    """Run `mas` with these words, or those of the process; returns the exit code and never raises."""
    given = list(sys.argv[1:] if words is None else words)
    try:
        code = _run(given)
    except MasError as error:
        code = _failed(error, given)
    except (OutputClosed, BrokenPipeError):
        code = ExitCode.PIPE_CLOSED
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Terminated:
        code = ExitCode.TERMINATED
    except Exception as error:  # noqa: BLE001 - the last line of defence: a report instead of a traceback
        code = _crashed(error, given)
    try:
        return int(code if flush_or_discard() else ExitCode.PIPE_CLOSED)
    except OutputFailed as error:
        return int(code or _failed(error, given))


def _run(words: list[str]) -> ExitCode:
    found = route(words)
    if found.command is None:
        return _without_command(found)
    from mas_cli.command_parser import run_command

    return run_command(found.command, list(found.arguments))


def _without_command(found: Route) -> ExitCode:
    from mas_cli.reference.help_pages import group_help, root_help

    if found.path and not found.wants_help:
        group = " ".join(found.path)
        raise UsageError(f"mas {group} needs a command", hint=f"mas {group} --help")
    if found.path:
        write_page(group_help(found.path))
    elif found.wants_help:
        write_page(root_help())
    else:
        from mas_cli.facts import facts

        write_page(f"{root_help()}\n\n{facts(found.arguments)}")
    return ExitCode.OK


def _failed(error: MasError, words: list[str]) -> ExitCode:
    """Report an error that came up before the flags were understood."""
    code = exit_code_of(error)
    color = typed_values(words).get("color") or os.environ.get("MAS_COLOR")
    talk = standard_error(json_errors=wants_json_errors(words), debug=_wants_debug(words), color=color)
    talk.error(error, code)
    return code


def _crashed(error: Exception, words: list[str]) -> ExitCode:
    from mas_cli.output.crash_report import write_crash_report

    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("mas_"):
        # an update that brought a dependency, and was not installed
        missing = ConfigurationError(
            f"the package {error.name.partition('.')[0]!r} is not installed",
            hint=("make run, in the folder of the sources", "pip install --upgrade ."),
        )
        missing.__cause__ = error
        return _failed(missing, words)
    try:
        command = " ".join(route(words).path)
    except MasError:
        command = ""
    path = write_crash_report(error, command)
    where = f"a report is in {path}" if path else "no report could be written"
    told = InternalError(
        f"unexpected {type(error).__name__}: {where}", hint="mas version", report=str(path or "")
    )
    told.__cause__ = error
    return _failed(told, words)


def _wants_debug(words: list[str]) -> bool:
    return "--debug" in words or os.environ.get("MAS_DEBUG", "") not in {"", "0", "false"}
