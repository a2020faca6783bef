"""Where an agent that failed left word of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mas_core.errors import AgentFailed

if TYPE_CHECKING:
    from mas_core.settings.project import Project


@contextmanager
def logs_named(project: Project | None, target: str) -> Iterator[None]:
    """Say of a handler that failed where it left word of it."""
    try:
        yield
    except AgentFailed as error:
        if project is not None and error.details.get("agent_code") in {"handler_failed", AgentFailed.code}:
            logs = [path for path in project.logs_dir.glob(f"{target}-*.log") if _is_log_of(path, target)]
            error.hint += tuple(f"tail {shlex.quote(str(_from_here(path)))}" for path in sorted(logs))
        raise


def _is_log_of(path: Path, agent_id: str) -> bool:
    return path.stem.removeprefix(f"{agent_id}-").isdecimal()


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
