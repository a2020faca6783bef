"""The parser of one command: its function's parameters and the shared flags, made into a Typer command.

Typer sees only this one command. What is around it (groups, suggestions, help of groups) comes from the
command table, so that nothing else has to be imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand
from typer.main import get_command

from mas_cli.command_table import Command
from mas_cli.input.command_lines import recordable
from mas_cli.input.shared_flags import SHARED_FLAGS, SharedFlags
from mas_cli.invocation import CommandFunction, execute, invocation
from mas_cli.output.exit_codes import ExitCode
from mas_cli.reference.help_pages import write_command_help
from mas_core.errors import InternalError, UsageError
from mas_core.settings.masking import mask_urls

_REASON = "reason"
"""A flag of every command that writes to a system; some keep it with what they write."""
USUAL_VALUES = {"--watch": "2s"}
"""Flags whose value follows `=` or is this one; the parser knows no such flags by itself."""
_SHARED_NAMES = tuple(spec.name for spec in SHARED_FLAGS)


class ParsedCommand(TyperCommand):
    """A Typer command whose help page is ours."""

    entry: Command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, where a flag whose value may be left out has been given its usual one."""
        end = args.index("--") if "--" in args else len(args)
        given = [f"{word}={USUAL_VALUES[word]}" if word in USUAL_VALUES else word for word in args[:end]]
        parsed: list[str] = super().parse_args(ctx, given + args[end:])
        return parsed

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page of the command."""
        write_command_help(self.entry, self, ctx, formatter)


def load(entry: Command) -> CommandFunction:
    """The function of a command."""
    module, _, function = entry.handler.partition(":")
    found: CommandFunction = getattr(import_module(f"mas_cli.commands.{module}"), function)
    return found


def parser_for(entry: Command, typed: Sequence[str] = ()) -> ParsedCommand:
    """The parser of a command; it runs the command when invoked. `typed` is what it will parse."""
    function = load(entry)
    own = _own_parameters(function)

    def run(**values: Any) -> ExitCode:
        flags = SharedFlags(**{name: values.pop(name) for name in _SHARED_NAMES})
        confirmed = values.pop("confirm", None) if entry.impact == "destroy" or entry.asks else None
        reason = values.pop(_REASON, None) if takes_reason else values.get(_REASON)
        call = invocation(
            entry,
            flags,
            confirmed,
            reason=reason if isinstance(reason, str) else "",
            command_line=recordable(entry.name, typed, values),
        )
        return execute(function, call, values)

    takes_reason = (
        entry.impact != "read"
        and entry.scope == "system"
        and all(parameter.name != _REASON for parameter in own)
    )
    parameters = [*own, *_shared_parameters(entry, takes_reason=takes_reason)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = inspect.getdoc(function)

    application = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    application.command(
        entry.name,
        cls=ParsedCommand,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )(run)
    command = get_command(application)
    if not isinstance(command, ParsedCommand):
        raise InternalError(f"mas {entry.name} has no parser")
    command.entry = entry
    return command


def run_command(entry: Command, arguments: list[str]) -> ExitCode:
    """Parse `arguments` and run the command.

    Raises:
        UsageError: The arguments do not fit.
    """
    parser = parser_for(entry, tuple(arguments))
    try:
        with parser.make_context(f"mas {entry.name}", arguments) as context:
            code: ExitCode = parser.invoke(context)
            return code
    except typer.Exit as asked_for_help:
        return ExitCode(asked_for_help.exit_code)
    except typer.TyperException as error:
        raise _usage_error(entry, error) from error


def _own_parameters(function: CommandFunction) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    return [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in own
    ]


def _shared_parameters(entry: Command, *, takes_reason: bool) -> list[inspect.Parameter]:
    parameters = [
        _option(
            spec.name,
            *spec.declarations,
            default=spec.default,
            help=spec.help,
            envvar=None if spec.is_setting else spec.env,
            metavar=spec.metavar or None,
            count=spec.default is not None and not isinstance(spec.default, bool),
        )
        for spec in SHARED_FLAGS
    ]
    if entry.impact == "destroy" or entry.asks:
        text = "Confirm by name what a question would ask for."
        parameters.append(_option("confirm", "--confirm", help=text, metavar="NAME"))
    if takes_reason:
        text = "Why; it is recorded in the audit."
        parameters.append(_option(_REASON, "--reason", help=text, metavar="TEXT"))
    return parameters


def _option(name: str, *declarations: str, default: object = None, **settings: Any) -> inspect.Parameter:
    value_type = bool if isinstance(default, bool) else int if isinstance(default, int) else str | None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[value_type, typer.Option(*declarations, show_default=False, **settings)],
    )


def _usage_error(entry: Command, error: typer.TyperException) -> UsageError:
    message = mask_urls(error.format_message().strip().rstrip("."))
    unknown = getattr(error, "option_name", "")
    possible = getattr(error, "possibilities", None)
    if possible is not None or message.startswith("No such option"):
        message = f"mas {entry.name} has no flag {unknown}"
    closest = get_close_matches(unknown, possible, 2) if possible else []
    return UsageError(message[:1].lower() + message[1:], hint=f"mas {entry.name} --help", closest=closest)
