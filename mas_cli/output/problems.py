"""Problems found in files: one row each, with line and fix."""

from __future__ import annotations

from collections.abc import Sequence

from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format, Output
from mas_core.settings.yaml_documents import Problem

_COLUMNS = (
    Column("path"),
    Column("line", kind="number"),
    Column("message", header="problem", flexible=True),
    Column("hint", header="fix", flexible=True),
)


def write_problems(out: Output, problems: Sequence[Problem]) -> ExitCode:
    """Write them; the exit code is 1 when there are any."""
    out.records(_COLUMNS, [_row(problem, for_people=out.format is Format.TABLE) for problem in problems])
    return ExitCode.NO if problems else ExitCode.OK


def _row(problem: Problem, *, for_people: bool) -> dict[str, object]:
    row: dict[str, object] = problem._asdict()
    if for_people:
        row |= {"line": problem.line or None, "hint": " ".join(problem.hint.splitlines())}
    return row
