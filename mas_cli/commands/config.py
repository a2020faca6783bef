"""`mas config`: the settings of the project, and where each comes from."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer

from mas_cli.connection import project_of, required_project, target_of
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.problems import write_problems
from mas_core.errors import KeyNotFound, Unreachable
from mas_core.settings.project_config import load_config


def _given(source: object) -> Style | None:
    return "dim" if source == "default" else "good"


_SETTINGS = (Column("name", style=lambda _: "name"), Column("value", flexible=True))
_SOURCES = (*_SETTINGS, Column("source", style=_given))


def show(call: Invocation) -> ExitCode:
    """Show every setting of the project.

    Secrets are masked. `mas config where` adds the source of each.
    """
    settings = load_config(required_project(call.flags)).settings()
    call.out.records(_SETTINGS, [{"name": setting.name, "value": setting.value} for setting in settings])
    return ExitCode.OK


def where(
    call: Invocation,
    name: Annotated[str | None, typer.Argument(metavar="SETTING", help="Only this setting.")] = None,
) -> ExitCode:
    """Show where every setting comes from.

    First the system that commands work with and what decided about it, then each setting of the project: from
    a flag, the environment, the project file, your own file or the default. Secrets are masked.
    """
    rows = [*_target_rows(call), *_setting_rows(call)]
    if name is not None:
        found = [row for row in rows if row["name"] == name or str(row["name"]).startswith(f"{name}.")]
        if not found:
            names = [str(row["name"]) for row in rows]
            raise KeyNotFound(
                f"there is no setting {name!r}",
                hint=[f"mas config where {near}" for near in get_close_matches(name, names, 2)]
                or "mas config where",
            )
        rows = found
    call.out.records(_SOURCES, rows)
    return ExitCode.OK


def validate(call: Invocation) -> ExitCode:
    """Check mas.yaml, the policy and all agent specs."""
    from mas_core.ops.project import validate_specs

    project = required_project(call.flags)
    specs, problems = validate_specs(project)
    valid = f"{project.config_path}, the policy and {len(specs)} agent specs are valid"
    call.talk.count(f"{len(problems)} problems" if problems else valid)
    return write_problems(call.out, problems)


def _target_rows(call: Invocation) -> list[Record]:
    try:
        target = target_of(call.flags)
    except Unreachable as error:
        call.talk.say(error.message)
        return []
    facts = {
        "system.url": target.shown_url,
        "system.name": target.name,
        "system.namespace": target.namespace,
        "system.protected": target.protected,
        "system.read_only": target.read_only,
    }
    return [{"name": name, "value": value, "source": target.source} for name, value in facts.items()]


def _setting_rows(call: Invocation) -> list[Record]:
    project = project_of(call.flags)
    if project is None:
        return []
    rows: list[Record] = [{"name": "project.file", "value": str(project.config_path), "source": "project"}]
    return [*rows, *(setting._asdict() for setting in load_config(project).settings())]
