"""mas.yaml: the settings of a project, and where each of them came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mas_core.errors import ConfigurationError, SpecInvalid
from mas_core.settings.agent_spec import AgentSpec, problems_in, read_specs, spec_files
from mas_core.settings.event_settings import EventSettings
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.health_settings import HealthSettings
from mas_core.settings.layers import environment_layer, flattened, merged
from mas_core.settings.masking import masked
from mas_core.settings.permissions import Permission
from mas_core.settings.policy_file import FilePolicy, load_policy_file, rules_of
from mas_core.settings.project import Project
from mas_core.settings.secrets import check_own, filled, holds_reference
from mas_core.settings.tui_settings import TuiSettings
from mas_core.settings.user_folder import user_folder
from mas_core.settings.yaml_documents import (
    KeyPath,
    Problem,
    YamlDocument,
    error_of,
    problems_of,
    read_yaml,
)

Profile = Literal["fast", "durable", "ha"]
Source = Literal["flag", "env", "project", "user", "default"]

PATH_FIELDS = ("tls_ca_path", "tls_server_cert_path", "tls_server_key_path")


def _module(value: str) -> str:
    if not all(part.isidentifier() for part in value.split(".")):
        raise ValueError(f"{value!r} is no Python package\nwrite  package  or  package.module")
    return value


class ProjectConfig(BaseSettings):
    """The fields of mas.yaml; `MAS_<FIELD>` and `MAS_<SECTION>__<FIELD>` variables override them."""

    model_config = SettingsConfigDict(
        env_prefix="MAS_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        title="mas.yaml",
    )

    name: str = Field(default="", max_length=64)
    """What the project is called; the name of its folder when not given."""
    url: str | None = None
    """URL of the Redis or Valkey server, or a reference to it; the embedded server when not given."""
    profile: Profile = "durable"
    """What a receipt waits for: fast (the commit), durable (the disk), ha (a replica)."""
    namespace: str = Field(default="mas", pattern="^[a-z0-9][a-z0-9_-]{0,31}$")
    """First part of every key, so that several systems can share a server."""
    partitions: int = Field(default=1, ge=1, le=1024)
    """Into how many parts the keys are split; more than one only pays on a cluster."""
    agents_dir: Path = Path("agents.d")
    """Folder of the agent specs."""
    policy: Path = Path("policy.yaml")
    """The policy file."""
    class_prefixes: list[Annotated[str, AfterValidator(_module)]] = []
    """Packages outside of the project folder that class paths may name."""
    gateway: GatewaySettings = GatewaySettings.model_construct()
    """Settings of the gateway."""
    health: HealthSettings = HealthSettings()
    """Where health and metrics are served, and when something counts as stuck."""
    events: EventSettings = EventSettings()
    """Where events are kept, and who keeps them."""
    tui: TuiSettings = TuiSettings()
    """How the dashboard is used."""
    agents: list[AgentSpec] = []
    """Agent specs that stand here instead of in files."""
    permissions: list[Permission] = []
    """Rules in the grammar of policy.yaml."""
    transport: Literal["direct", "server"] | None = None
    """How agents reach the system: direct to the Redis server, or through a server of agents. Their specs may say
    something else; when nothing is said, those go through a server that have a certificate."""
    server_listen_addr: str | None = Field(
        default=None, pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:/\s]*):[0-9]{1,5}$"
    )
    """host:port of the server mode; 127.0.0.1:7443 when not given."""
    agents_url: str | None = Field(default=None, pattern=r"^grpcs://[^/\s@]+$")
    """grpcs://HOST:PORT under which agents find the server; made of server_listen_addr when not given."""
    server_bearer_addr: str | None = None
    """host:port of this machine or unix:PATH, where a proxy that ends TLS brings agents with bearer tokens; without
    it no bearer token counts."""
    trust_domain: str = Field(default="mas", pattern="^[a-z0-9][a-z0-9._-]{0,254}$")
    """The first part of the SPIFFE IDs in the certificates of agents: spiffe://TRUST_DOMAIN/agent/ID."""
    tls_ca_path: Path | None = None
    """Certificate authorities that agents must come from; one or several in a file. No variable overrides it:
    MAS_TLS_CA_PATH is an agent's."""
    tls_server_cert_path: Path | None = None
    """Certificate of the server mode."""
    tls_server_key_path: Path | None = None
    """Key of the certificate."""


class Setting(NamedTuple):
    """One setting as it may be shown."""

    name: str
    value: object
    source: Source


@dataclass(frozen=True)
class LoadedConfig:
    """The configuration of a project, its paths absolute."""

    project: Project
    config: ProjectConfig
    layers: Mapping[Source, Mapping[str, object]]

    @property
    def url(self) -> str | None:
        """The server that the project names, maybe by a reference to a secret; None for the embedded one."""
        return self.config.url or self.config.gateway.redis.url

    def server_url(self) -> str | None:
        """The server that the project names, with its secrets; None for the embedded one."""
        return self.filled("url" if self.config.url else "gateway.redis.url")

    def filled(self, name: str) -> str | None:
        """The text of a setting, with the secrets that it refers to.

        Args:
            name: Its dotted name.

        Raises:
            SecretUnavailable: A secret cannot be had.
            ConfigurationError: Others can change the file that refers to it.
        """
        value: object = self.config
        for part in name.split("."):
            value = getattr(value, part)
        if not isinstance(value, str) or not holds_reference(value):
            return value if isinstance(value, str) else None
        source = self._source(name)
        if source == "project":
            check_own(self.project.config_path)
        elif source == "user":
            check_own(user_folder() / "config.yaml")
        return filled(value, self.project.root)

    @property
    def agents_dir(self) -> Path:
        """Folder of the agent specs."""
        return self.project.root / self.config.agents_dir

    @property
    def policy_path(self) -> Path:
        """The policy file, which need not exist."""
        return self.project.root / self.config.policy

    def settings(self, *, unmasked: bool = False) -> list[Setting]:
        """Every setting with its source, secrets masked unless said otherwise."""
        values = flattened(self.config.model_dump(mode="json", by_alias=True))
        return [
            Setting(name, value if unmasked else masked(name, value), self._source(name))
            for name, value in values
        ]

    def _source(self, name: str) -> Source:
        order: tuple[Source, ...] = ("flag", "env", "project", "user")
        for source in order:
            named = [key for key, _ in flattened(self.layers.get(source, {}))]
            if any(name == key or name.startswith(f"{key}.") for key in named):
                return source
        return "default"

    def specs(self) -> list[AgentSpec]:
        """The agents of agents.d and of mas.yaml.

        Raises:
            SpecInvalid: Some cannot be used; names every problem of every file with line and fix.
        """
        problems: list[Problem] = []
        specs: list[AgentSpec] = []
        path = self.project.config_path
        try:
            specs = read_specs(spec_files(self.agents_dir))
        except SpecInvalid as error:
            problems += problems_in(error)
        known = {spec.agent_id for spec in specs}
        for index, spec in enumerate(self.config.agents):
            if spec.agent_id in known:
                line = read_yaml(path).line("agents", index, "agent_id")
                problems.append(Problem(str(path), line, f"the agent {spec.agent_id!r} has a spec already"))
            known.add(spec.agent_id)
            specs.append(spec.from_file(path, f"file:{path.name}#{spec.agent_id}"))
        if problems:
            raise error_of(problems)
        return specs

    def policy(self, specs: list[AgentSpec] | None = None) -> FilePolicy:
        """What the policy file, mas.yaml and the specs together say about the policy.

        Raises:
            SpecInvalid: One of the files cannot be used.
        """
        from_file = load_policy_file(self.policy_path) if self.policy_path.exists() else FilePolicy()
        own = FilePolicy(
            rules=rules_of(self.config.permissions, f"file:{self.project.config_path.name}"),
            dlp_actions=dict(self.config.gateway.dlp.actions),
        )
        every = self.specs() if specs is None else specs
        return own.joined([from_file, *(spec.policy() for spec in every)])


def load_config(
    project: Project, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] = os.environ
) -> LoadedConfig:
    """The configuration of `project`: flags over environment over mas.yaml over the user's config.yaml.

    Args:
        project: Where the mas.yaml is.
        flags: Fields that the caller was given, by name; None values count as not given.
        environ: Where the folder of the user is looked up.

    Raises:
        SpecInvalid: A file cannot be used; names line and fix.
        ConfigurationError: A variable or a flag cannot be used.
    """
    document = read_yaml(project.config_path)
    user_path = user_folder(environ) / "config.yaml"
    user = read_yaml(user_path) if user_path.exists() else YamlDocument(str(user_path), {}, {})
    environment = merged(
        {"gateway": values} if (values := environment_layer(GatewaySettings)) else {},
        # MAS_TLS_CA_PATH says whom an agent trusts; the project's authorities are not those of a shell's agent.
        {name: value for name, value in environment_layer(ProjectConfig).items() if name != "tls_ca_path"},
    )
    layers: dict[Source, Mapping[str, object]] = {
        "flag": {name: value for name, value in (flags or {}).items() if value is not None},
        "env": environment,
        "project": document.value,
        "user": user.value,
    }
    everything = merged(layers["user"], layers["project"], layers["env"], layers["flag"])
    try:
        config = ProjectConfig.model_validate(everything)
    except ValidationError as error:
        raise _explained(error, layers, document, user) from None
    root = project.root
    config = config.model_copy(
        update={
            "name": config.name or project.name,
            "gateway": config.gateway.relative_to(root),
            **{field: path and root / path for field in PATH_FIELDS for path in [getattr(config, field)]},
        }
    )
    return LoadedConfig(project, config, layers)


def _explained(
    error: ValidationError,
    layers: Mapping[Source, Mapping[str, object]],
    document: YamlDocument,
    user: YamlDocument,
) -> ConfigurationError:
    """The error in terms of the layer that each wrong value came from."""
    problems: list[Problem] = []
    for detail, problem in zip(error.errors(), problems_of(error, ProjectConfig, document), strict=True):
        location: KeyPath = detail["loc"]
        if _reaches(layers["flag"], location):
            problems.append(problem._replace(path="flags", line=0))
        elif _reaches(layers["env"], location):
            problems.append(problem._replace(path="environment", line=0))
        elif _reaches(layers["project"], location) or not _reaches(layers["user"], location):
            problems.append(problem)
        else:
            problems.append(problem._replace(path=user.path, line=user.line(*location)))
    return error_of(problems)


def _reaches(layer: object, location: KeyPath) -> bool:
    """Whether the layer says something about the value at `location`."""
    for key in location:
        if not isinstance(layer, Mapping):
            return True
        if key not in layer:
            return False
        layer = layer[key]
    return True
