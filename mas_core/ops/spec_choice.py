"""Which agents of a project are run beside what runs already, and how many instances of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from mas_core.errors import AgentNotFound, UsageError
from mas_core.settings.agent_spec import AgentSpec, read_specs, spec_files
from mas_core.settings.instances import Instances
from mas_core.settings.project import Project
from mas_core.settings.project_config import LoadedConfig, load_config


@dataclass(frozen=True, slots=True)
class LoadedSpecs:
    """What the files say now."""

    loaded: LoadedConfig
    every: list[AgentSpec]
    """All of the project, for the policy: their rules stay whichever of them run."""
    chosen: list[AgentSpec]
    """Those to run."""


@dataclass(frozen=True, slots=True)
class SpecChoice:
    """Agents to run."""

    names: Sequence[str] = ()
    """Their ids; all when empty."""
    folder: Path | None = None
    """Whose specs are meant; those of the project when None."""
    instances: int | None = None
    """How many of each; as the specs say when None."""

    def load(self, project: Project) -> LoadedSpecs:
        """Read the files of the project and the folder.

        Raises:
            SpecInvalid: A spec cannot be used.
        """
        loaded = load_config(project, {"agents_dir": self.folder})
        own = loaded.specs() if self.folder is None else load_config(project).specs()
        offered = own if self.folder is None else read_specs(spec_files(self.folder))
        ids = {spec.agent_id for spec in offered}
        every = [*offered, *(spec for spec in own if spec.agent_id not in ids)]
        chosen = [self._counted(spec) for spec in offered if not self.names or spec.agent_id in self.names]
        return LoadedSpecs(loaded, every, chosen)

    def load_known(self, project: Project) -> LoadedSpecs:
        """The same, and every name has to be one.

        Raises:
            AgentNotFound: There is no spec of this name.
            SpecInvalid: A spec cannot be used.
            UsageError: There are no specs.
        """
        found = self.load(project)
        known = [spec.agent_id for spec in found.chosen]
        if not known and not self.names:
            where = "the project" if self.folder is None else self.folder
            raise UsageError(f"{where} has no agents", hint="mas agent new NAME")
        for name in self.names:
            if name not in known:
                offered = [spec.agent_id for spec in found.every]
                raise AgentNotFound(
                    f"the project has no spec of an agent {name!r}",
                    hint=("mas agent validate", f"mas agent new {name}"),
                    closest=get_close_matches(name, offered, 2),
                )
        return found

    def _counted(self, spec: AgentSpec) -> AgentSpec:
        if self.instances is None:
            return spec
        return spec.model_copy(update={"instances": Instances(min=self.instances, max=self.instances)})
