"""`mas agent validate` and `mas agent new`: agent specs as files, without a running system."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, get_args

import typer

from mas_cli.connection import project_of, required_project
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.problems import write_problems
from mas_core.errors import SpecInvalid, UsageError
from mas_core.settings.agent_spec import AgentSpec, problems_in, read_specs, spec_files
from mas_core.settings.transport import has_authority
from mas_core.settings.yaml_documents import Problem, parse_yaml, validated


def validate(
    call: Invocation,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Files or folders; agents.d/ when left out.")
    ] = None,
    *,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Also what can be used, but is hardly what you want; in a project."),
    ] = False,
) -> ExitCode:
    """Check agent specs, with line and fix for every problem.

    Inside a project classes and programs are looked for too; nothing is imported and nothing is run. Once all can
    be used, --strict tells of an order that several instances lose, of times that contradict each other, of
    secrets in env, and of permissions for agents that the project does not have.
    """
    files: list[Path] = []
    for path in paths or []:
        files += spec_files(path) if path.is_dir() else [path]
    project = project_of(call.flags) if files and not strict else required_project(call.flags)
    specs: list[AgentSpec] = []
    problems: list[Problem] = []
    if project is not None:
        from mas_core.ops.project import validate_specs

        specs, problems = validate_specs(project, files, strict=strict)
    else:
        try:
            specs = read_specs(files)
        except SpecInvalid as error:
            problems = problems_in(error)
    call.talk.count(f"{len(problems)} problems" if problems else f"{len(specs)} specs are valid")
    return write_problems(call.out, problems)


def new(
    call: Invocation,
    agent_id: Annotated[str, typer.Argument(metavar="NAME", help="Id of the agent.")],
    *,
    class_path: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="MODULE:CLASS", help="A class that is there already; a new one if left out."
        ),
    ] = None,
    program: Annotated[
        str | None, typer.Option("--exec", metavar="COMMAND", help="A program that handles its messages.")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="per_message|stream",
            help="With --exec: run it for each message, or once for all; per_message if left out.",
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="With --exec: the field of the payload that it reads; all of it if left out."
        ),
    ] = None,
    capability: Annotated[
        list[str] | None, typer.Option("--capability", metavar="NAME", help="What it can do; repeatable.")
    ] = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Write the files to standard output instead.")
    ] = False,
) -> ExitCode:
    """Write the files of a new agent.

    A spec in agents.d/ of the project and, unless it names a class or a program that is there already, a
    module with an agent that works. The starter policy lets `operator` talk to it, and nobody else.
    """
    from mas_core.ops.project import agent_files, new_agent
    from mas_core.ops.starter_files import ExecMode

    if class_path is not None and program is not None:
        raise UsageError("--class and --exec exclude each other", hint=f"mas agent new {agent_id}")
    command = shlex.split(program or "")
    if program is not None and not command:
        raise UsageError("--exec names no program", hint=f"mas agent new {agent_id} --exec 'wc -w'")
    if program is None and (mode is not None or field is not None):
        raise UsageError(
            "--mode and --field go with --exec", hint=f"mas agent new {agent_id} --exec 'wc -w' --field text"
        )
    modes = get_args(ExecMode)
    if mode not in {None, *modes}:
        raise UsageError(f"--mode: {mode!r} is none of {', '.join(modes)}")
    if mode == "stream" and field is not None:
        raise UsageError("--field goes with --mode per_message: a stream holds whole messages")
    exec_mode: ExecMode = "stream" if mode == "stream" else "per_message"
    if only_print:
        files = agent_files(
            agent_id,
            class_path=class_path,
            command=command,
            mode=exec_mode,
            field=field or "",
            capabilities=capability or (),
        )
        _check(files[Path(f"{agent_id}.yaml")], agent_id)
        texts = [text if len(files) == 1 else f"# {path}\n{text}" for path, text in files.items()]
        call.out.text("\n".join(texts), {str(path): text for path, text in files.items()})
        return ExitCode.OK
    project = required_project(call.flags)
    written = new_agent(
        project,
        agent_id,
        class_path=class_path,
        command=command,
        mode=exec_mode,
        field=field or "",
        capabilities=capability or (),
    )
    call.out.records((Column("path"),), [{"path": str(path), "agent_id": agent_id} for path in written])
    names = " ".join(shlex.quote(str(path)) for path in written)
    call.talk.say(f"next: mas agent run {agent_id}, or mas up; undo with: rm {names}")
    if has_authority(project):
        call.talk.say(f"they make its certificate, too; elsewhere it comes with: mas cert issue {agent_id}")
    return ExitCode.OK


def _check(text: str, agent_id: str) -> None:
    """Make sure that what is about to be written can be read back."""
    try:
        validated(AgentSpec, parse_yaml(text, f"the spec of {agent_id}"))
    except SpecInvalid as error:
        raise UsageError(error.message, hint=error.hint) from None
