"""`mas agent validate` and `mas agent new`: agent specs as files, without a running system."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mas_cli.connection import required_project
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.documents import yaml_text
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.problems import write_problems
from mas_core.errors import ConfigurationError, Conflict, SpecInvalid, UsageError
from mas_core.settings.agent_spec import AgentSpec, problems_in, read_specs, spec_files
from mas_core.settings.project_config import load_config
from mas_core.settings.yaml_documents import parse_yaml, validated


def validate(
    call: Invocation,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Files or folders; agents.d/ when left out.")
    ] = None,
) -> ExitCode:
    """Check agent specs, with line and fix for every problem."""
    files: list[Path] = []
    if not paths:
        files = spec_files(load_config(required_project(call.flags)).agents_dir)
    for path in paths or []:
        files += spec_files(path) if path.is_dir() else [path]
    try:
        specs = read_specs(files)
    except SpecInvalid as error:
        problems = problems_in(error)
        call.talk.count(f"{len(problems)} problems in {len(files)} files")
        return write_problems(call.out, problems)
    call.talk.count(f"{len(specs)} specs are valid")
    return write_problems(call.out, [])


def new(
    call: Invocation,
    agent_id: Annotated[str, typer.Argument(metavar="NAME", help="Id of the agent.")],
    *,
    class_path: Annotated[
        str | None, typer.Option("--class", metavar="MODULE:CLASS", help="Class that handles its messages.")
    ] = None,
    program: Annotated[
        str | None, typer.Option("--exec", metavar="COMMAND", help="Program that handles its messages.")
    ] = None,
    capability: Annotated[
        list[str] | None, typer.Option("--capability", metavar="NAME", help="What it can do; repeatable.")
    ] = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Write the spec to standard output instead.")
    ] = False,
) -> ExitCode:
    """Write the spec of a new agent.

    The file goes to agents.d/ of the project. `operator` may talk to the agent; nobody else may until a
    permission says so.
    """
    if (class_path is None) == (program is None):
        raise UsageError(
            "say what handles its messages: --class or --exec",
            hint=(
                f"mas agent new {agent_id} --class MODULE:CLASS",
                f"mas agent new {agent_id} --exec 'wc -w'",
            ),
        )
    fields: dict[str, object] = {"agent_id": agent_id}
    fields |= {"class_path": class_path} if class_path else {"exec": shlex.split(program or "")}
    fields |= {"capabilities": capability or [], "permissions": [{"from": "operator"}]}
    text = yaml_text(fields)
    _checked(text, agent_id)
    if only_print:
        call.out.text(text, fields)
        return ExitCode.OK
    folder = load_config(required_project(call.flags)).agents_dir
    path = folder / f"{agent_id}.yaml"
    try:
        folder.mkdir(exist_ok=True)
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(f"{path} exists", hint=f"mas agent new {agent_id} --print") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", path=str(path)) from error
    call.out.record([Column("path")], {"path": str(path), "agent_id": agent_id})
    call.talk.say(f"next: mas agent validate {path}; undo with: rm {path}")
    return ExitCode.OK


def _checked(text: str, agent_id: str) -> None:
    """Make sure that what is about to be written can be read back."""
    try:
        validated(AgentSpec, parse_yaml(text, f"the spec of {agent_id}"))
    except SpecInvalid as error:
        raise UsageError(error.message, hint=error.hint) from None
