"""Make projects and agents from starter files, and check what people wrote."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mas_core.base.ids import check_agent_id, check_capability
from mas_core.errors import ConfigurationError, Conflict, SpecInvalid, UsageError
from mas_core.ops.scan_rules import scan_problems
from mas_core.ops.spec_doubts import doubts
from mas_core.ops.starter_files import (
    GITIGNORE,
    MAS_YAML,
    POLICY_YAML,
    ExecMode,
    agent_module,
    class_spec,
    exec_spec,
)
from mas_core.runner.class_loading import ClassLoader, class_problems
from mas_core.settings.agent_spec import AgentSpec, problems_in, read_specs
from mas_core.settings.project import CONFIG_NAME, Project
from mas_core.settings.project_config import load_config
from mas_core.settings.yaml_documents import Problem
from mas_core.store.keys import MAX_PARTITIONS

FIRST_AGENT = "hello"


def init_project(folder: Path, *, partitions: int = 1) -> list[Path]:
    """Make a project with one working agent in `folder`; files that are there already stay as they are.

    Args:
        folder: Where.
        partitions: How many partitions its agents are spread over.

    Returns:
        The files that were written.

    Raises:
        UsageError: There cannot be so many partitions.
        Conflict: There is a project already.
        ConfigurationError: The folder cannot be written.
    """
    if not 1 <= partitions <= MAX_PARTITIONS:
        raise UsageError(f"there can be 1 to {MAX_PARTITIONS} partitions, not {partitions}")
    if (folder / CONFIG_NAME).exists():
        raise Conflict(f"{folder / CONFIG_NAME} exists", hint="mas agent new NAME", path=str(folder))
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_") or "project"
    files = {
        Path(CONFIG_NAME): MAS_YAML.format(name=name[:63])
        + (f"partitions: {partitions}\n" if partitions > 1 else ""),
        Path("policy.yaml"): POLICY_YAML,
        Path(".gitignore"): GITIGNORE,
    }
    files |= {Path("agents.d") / path: text for path, text in agent_files(FIRST_AGENT).items()}
    return _write(folder, files, keep_existing=True)


def agent_files(
    agent_id: str,
    *,
    class_path: str | None = None,
    command: Sequence[str] = (),
    mode: ExecMode = "per_message",
    field: str = "",
    capabilities: Sequence[str] = (),
) -> dict[Path, str]:
    """The files of a new agent, to be put into agents.d: a spec, and a module unless it names what to run.

    Raises:
        InvalidIdentifier: The id or a capability cannot be one.
    """
    check_agent_id(agent_id)
    abilities = [check_capability(capability) for capability in capabilities]
    spec = Path(f"{agent_id}.yaml")
    if command:
        return {spec: exec_spec(agent_id, list(command), mode, field, abilities)}
    if class_path:
        module, _, class_name = class_path.partition(":")
        return {spec: class_spec(agent_id, module, class_name, abilities)}
    module = re.sub(r"\W", "_", agent_id)
    module = f"agent_{module}" if module[0].isdigit() else module
    class_name = "".join(part.capitalize() for part in module.split("_"))
    return {
        spec: class_spec(agent_id, module, class_name, abilities, example=True),
        Path(f"{module}.py"): agent_module(agent_id, class_name),
    }


def new_agent(
    project: Project,
    agent_id: str,
    *,
    class_path: str | None = None,
    command: Sequence[str] = (),
    mode: ExecMode = "per_message",
    field: str = "",
    capabilities: Sequence[str] = (),
) -> list[Path]:
    """Write the files of a new agent into the project's agents.d.

    Args:
        project: Where it is to run.
        agent_id: What it is called.
        class_path: An existing class to run, as module:Class; a new module is made when left out.
        command: A program to run instead of a class.
        mode: Of a program: whether it runs once for each message, or reads a stream of them.
        field: Of a program for each message: the field of the payload that it gets; all of it when empty.
        capabilities: What it can do.

    Returns:
        The files that were written.

    Raises:
        InvalidIdentifier: The id or a capability cannot be one.
        SpecInvalid: The class path or the settings of the project cannot be used.
        Conflict: There is an agent or a file of that name.
    """
    loaded = load_config(project)
    for spec in loaded.specs():
        if spec.agent_id == agent_id:
            raise Conflict(
                f"the agent {agent_id!r} has a spec already: {spec.source}", hint="mas agent validate"
            )
    if class_path:
        ClassLoader([loaded.agents_dir, project.root], loaded.config.class_prefixes).check(class_path)
    files = agent_files(
        agent_id,
        class_path=class_path,
        command=command,
        mode=mode,
        field=field,
        capabilities=capabilities,
    )
    return _write(loaded.agents_dir, files, keep_existing=False)


def validate_specs(
    project: Project, paths: Sequence[Path] = (), *, strict: bool = False
) -> tuple[list[AgentSpec], list[Problem]]:
    """Check specs as `mas up` would, without importing or running anything.

    Args:
        project: Whose agents they are.
        paths: The spec files; all specs, the settings and the policy of the project when empty.
        strict: Also what can be used, but is hardly what somebody wanted.

    Returns:
        The specs that can be read, and everything that is wrong.
    """
    specs: list[AgentSpec] = []
    problems: list[Problem] = []
    try:
        loaded = load_config(project)
    except SpecInvalid as error:
        return specs, problems_in(error)
    try:
        specs = read_specs(paths) if paths else loaded.specs()
    except SpecInvalid as error:
        problems += problems_in(error)
    if not paths:
        try:
            problems += scan_problems(loaded, loaded.policy(specs))
        except SpecInvalid as error:
            problems += problems_in(error)
    loader = ClassLoader([loaded.agents_dir, project.root], loaded.config.class_prefixes)
    problems += class_problems(specs, loader)
    problems += [problem for spec in specs if (problem := _program_problem(spec, project.root))]
    if strict and not problems:
        try:
            problems += doubts(specs, [*specs, *(loaded.specs() if paths else ())])
        except SpecInvalid as error:
            problems += problems_in(error)
    return specs, problems


def _program_problem(spec: AgentSpec, root: Path) -> Problem | None:
    if not spec.command:
        return None
    program = spec.command[0]
    if shutil.which(root / program if "/" in program else program):
        return None
    return Problem(
        str(spec.source or spec.agent_id),
        0,
        f"exec: there is no program {program!r}",
        f"command -v {program}",
    )


def _write(folder: Path, files: Mapping[Path, str], *, keep_existing: bool) -> list[Path]:
    if not keep_existing:
        for path in files:
            if (folder / path).exists():
                raise Conflict(f"{folder / path} exists", path=str(folder / path))
    written: list[Path] = []
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("x", encoding="utf-8") as file:
                    file.write(text)
            except FileExistsError:
                continue
            written.append(target)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}", path=str(folder)) from error
    return written
