"""Where the samples of this installation are, and what each is about."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from mas_core.errors import ConfigurationError, UsageError

PROTOCOLS: dict[str, str] = {
    "pipeline": "pipeline/pipeline.py",
    "fan-out": "fan_out/fan_out.py",
    "voting-panel": "voting_panel/panel.py",
    "fail-over": "fail_over/fail_over.py",
    "supervisor": "supervisor/supervisor.py",
}
"""The samples that need no server: each is a file with `main(agents, say)`."""
_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE / "examples", _PACKAGE.parent / "examples")
"""In an installed package, and in a checkout."""

Main = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One of them."""

    name: str
    path: Path

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        return (ast.get_docstring(tree) or "").partition("\n")[0]

    def main(self) -> Main:
        """What runs it: takes how many agents there are, and what is called with each line that it says."""
        found: Main = runpy.run_path(str(self.path))["main"]
        return found


def samples() -> list[Sample]:
    """All samples that need no server.

    Raises:
        ConfigurationError: They were not installed.
    """
    for folder in _FOLDERS:
        if folder.is_dir():
            return [Sample(name, folder / path) for name, path in PROTOCOLS.items()]
    raise ConfigurationError("this installation has no samples", hint="pip install --force-reinstall mas")


def sample(name: str) -> Sample:
    """One sample.

    Raises:
        UsageError: There is none of this name.
        ConfigurationError: They were not installed.
    """
    for found in samples():
        if found.name == name:
            return found
    raise UsageError(
        f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}",
        hint=f"mas demo --protocol {next(iter(PROTOCOLS))}",
    )
