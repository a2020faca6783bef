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
from mas_cli.output.formats import Format
from mas_cli.output.problems import write_problems
from mas_core.errors import KeyNotFound, SecretUnavailable, Unreachable, UsageError
from mas_core.settings.file_schemas import FILES, json_schema
from mas_core.settings.project_config import load_config


def _given(source: object) -> Style | None:
    return "dim" if source == "default" else "good"


_SETTINGS = (Column("name", style=lambda _: "name"), Column("value", flexible=True))
_SOURCES = (*_SETTINGS, Column("source", style=_given))


Unmask = Annotated[bool, typer.Option("--unmask", help="Show secrets too.")]


def show(call: Invocation, *, unmask: Unmask = False) -> ExitCode:
    """Show every setting of the project.

    Secrets are masked. `mas config where` adds the source of each.
    """
    settings = load_config(required_project(call.flags)).settings(unmasked=unmask)
    call.out.records(_SETTINGS, [{"name": setting.name, "value": setting.value} for setting in settings])
    return ExitCode.OK


def get(
    call: Invocation,
    name: Annotated[str, typer.Argument(metavar="SETTING", help="Such as profile or gateway.redis.url.")],
    *,
    unmask: Unmask = False,
) -> ExitCode:
    """Print one setting and nothing else, for scripts; a section as JSON."""
    settings = load_config(required_project(call.flags)).settings(unmasked=unmask)
    found = {item.name: item.value for item in settings if _is_within(item.name, name)}
    if not found:
        raise _no_such_setting(name, [item.name for item in settings], "get")
    value = found.get(name, {inner.removeprefix(f"{name}."): item for inner, item in found.items()})
    if isinstance(value, str) and call.out.format is Format.TABLE:
        call.out.raw(value)
    else:
        call.out.document(value)
    return ExitCode.OK


def schema(
    call: Invocation,
    name: Annotated[
        str, typer.Argument(metavar="|".join(FILES), help="Which file; mas.yaml if left out.")
    ] = "mas.yaml",
) -> ExitCode:
    """Print the JSON Schema of a file, for editors that complete and check as one types."""
    if name not in FILES:
        raise UsageError(f"{name!r} is none of {', '.join(FILES)}", hint="mas config schema mas.yaml")
    call.out.document(json_schema(name))
    return ExitCode.OK


def where(
    call: Invocation,
    name: Annotated[str | None, typer.Argument(metavar="SETTING", help="Only this setting.")] = None,
    *,
    unmask: Unmask = False,
) -> ExitCode:
    """Show where every setting comes from.

    First the system that commands work with and what decided about it, then each setting of the project: from
    a flag, the environment, the project file, your own file or the default. Secrets are masked.
    """
    rows = [*_target_rows(call), *_setting_rows(call, unmasked=unmask)]
    if name is not None:
        found = [row for row in rows if _is_within(str(row["name"]), name)]
        if not found:
            raise _no_such_setting(name, [str(row["name"]) for row in rows], "where")
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
    except (Unreachable, SecretUnavailable) as error:
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


def _is_within(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(f"{wanted}.")


def _no_such_setting(name: str, names: list[str], command: str) -> KeyNotFound:
    near = [f"mas config {command} {one}" for one in get_close_matches(name, names, 2)]
    return KeyNotFound(f"there is no setting {name!r}", hint=near or "mas config where")


def _setting_rows(call: Invocation, *, unmasked: bool) -> list[Record]:
    project = project_of(call.flags)
    if project is None:
        return []
    rows: list[Record] = [{"name": "project.file", "value": str(project.config_path), "source": "project"}]
    return [*rows, *(setting._asdict() for setting in load_config(project).settings(unmasked=unmasked))]
