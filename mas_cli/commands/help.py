"""`mas help`: topics, error codes and commands explained."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer

from mas_cli.command_table import GROUPS
from mas_cli.errors import TopicNotFound
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.reference.help_pages import command_help, group_help, root_help
from mas_cli.reference.topics import TEXTS, TOPICS, error_rows, exit_code_rows
from mas_cli.routing import BY_PATH

_EXIT_COLUMNS = (Column("code", kind="number"), Column("name"), Column("when", flexible=True))
_ERROR_COLUMNS = (
    Column("code"),
    Column("exit", kind="number"),
    Column("retryable"),
    Column("meaning", flexible=True),
)


def help_on(
    call: Invocation,
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="TOPIC", help=f"{', '.join(TOPICS)}, an error code, or a command."),
    ] = None,
) -> ExitCode:
    """Explain a topic, an error code or a command."""
    match topic or []:
        case []:
            _page(call, "mas", root_help())
        case ["exit-codes"]:
            call.out.records(_EXIT_COLUMNS, exit_code_rows())
        case ["errors"]:
            call.out.records(_ERROR_COLUMNS, error_rows())
        case ["errors", code]:
            _explain_error(call, code)
        case [name] if name in TEXTS:
            _page(call, name, TEXTS[name]())
        case words if tuple(words) in BY_PATH:
            _page(call, " ".join(words), command_help(BY_PATH[tuple(words)]))
        case words if " ".join(words) in GROUPS:
            _page(call, " ".join(words), group_help(tuple(words)))
        case [code] if code in _error_codes():
            _explain_error(call, code)
        case words:
            known = [*TOPICS, *GROUPS, *map(" ".join, BY_PATH), *_error_codes()]
            close = [f"mas help {name}" for name in get_close_matches(" ".join(words), known, 2)]
            raise TopicNotFound(f"there is no help on {' '.join(words)!r}", hint=close or "mas help")
    return ExitCode.OK


def _error_codes() -> list[str]:
    return [str(row["code"]) for row in error_rows()]


def _page(call: Invocation, topic: str, text: str) -> None:
    call.out.text(text, {"topic": topic, "text": text})


def _explain_error(call: Invocation, code: str) -> None:
    rows = error_rows()
    found = next((row for row in rows if row["code"] == code), None)
    if found is None:
        close = get_close_matches(code, _error_codes(), 2)
        raise TopicNotFound(
            f"there is no error code {code!r}",
            hint=[f"mas help errors {name}" for name in close] or "mas help errors",
        )
    exit_code = ExitCode(int(str(found["exit"])))
    call.out.record(
        [Column("code"), Column("meaning"), Column("exit"), Column("exit_meaning"), Column("retryable")],
        {**found, "exit_meaning": f"{exit_code.label}: {exit_code.meaning}"},
    )
