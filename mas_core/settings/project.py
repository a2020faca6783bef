"""A project: a folder with a mas.yaml, and the private `.mas/` folder beside it that keeps all it has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mas_core.errors import ConfigurationError, ProjectNotFound
from mas_core.settings.private_files import private_dir

CONFIG_NAME = "mas.yaml"


@dataclass(frozen=True)
class Project:
    """Where a project is; every folder it hands out exists and is private."""

    root: Path
    config_path: Path

    @property
    def name(self) -> str:
        """What to call it when its file does not say."""
        return self.root.name or "project"

    @property
    def data_dir(self) -> Path:
        """`.mas/`: everything the project keeps."""
        return private_dir(self.root / ".mas")

    @property
    def run_dir(self) -> Path:
        """What lives only while the project runs: sockets, process ids, the running context."""
        return private_dir(self.data_dir / "run")

    @property
    def keys_dir(self) -> Path:
        """The gateway's and the audit's keys."""
        return private_dir(self.data_dir / "keys")

    @property
    def tokens_dir(self) -> Path:
        """A token file for each agent of this machine."""
        return private_dir(self.data_dir / "tokens")

    @property
    def certs_dir(self) -> Path:
        """Certificates and their keys; what `settings.certificate_paths` names lies in it."""
        return private_dir(self.data_dir / "certs")

    @property
    def logs_dir(self) -> Path:
        """What agents and the server print."""
        return private_dir(self.data_dir / "logs")

    @property
    def events_dir(self) -> Path:
        """Events that were kept."""
        return private_dir(self.data_dir / "events")

    @property
    def server_dir(self) -> Path:
        """Data of the embedded server."""
        return private_dir(self.data_dir / "server")


def find_project(start: Path | None = None, environ: Mapping[str, str] = os.environ) -> Project | None:
    """The project of the folder `start`: the nearest mas.yaml there or above.

    Without `start`, `MAS_CONFIG_FILE` names the file, else the search begins in the current folder.

    Raises:
        ConfigurationError: `MAS_CONFIG_FILE` names a file that is not there.
    """
    if start is None:
        if named := environ.get("MAS_CONFIG_FILE"):
            return project_at(Path(named))
        start = Path.cwd()
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / CONFIG_NAME).is_file():
            return Project(folder, folder / CONFIG_NAME)
    return None


def project_at(config: Path) -> Project:
    """The project of the file `config`, or of the mas.yaml in the folder `config`.

    Raises:
        ConfigurationError: There is no such file.
    """
    path = config.expanduser().resolve()
    if path.is_dir():
        path /= CONFIG_NAME
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}", hint="mas init DIR", path=str(path))
    return Project(path.parent, path)


def require_project(start: Path | None = None, environ: Mapping[str, str] = os.environ) -> Project:
    """The project of `start`, as `find_project`.

    Raises:
        ProjectNotFound: There is none.
    """
    if found := find_project(start, environ):
        return found
    raise ProjectNotFound(
        f"no {CONFIG_NAME} in {start or Path.cwd()} or in any folder above", hint="mas init DIR"
    )
