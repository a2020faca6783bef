"""Which system a command works on: flag over environment over running project over selected context."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mas_core.errors import ProjectNotFound, StoreUnreachable
from mas_core.settings.contexts import Context, ContextStore
from mas_core.settings.masking import mask_url
from mas_core.settings.operator_files import CERTIFICATE_VARIABLE, VARIABLE
from mas_core.settings.project import Project, find_project, project_at
from mas_core.settings.project_config import LoadedConfig, load_config
from mas_core.settings.running_context import read_running
from mas_core.settings.secrets import filled
from mas_core.settings.server_logins import Role, has_login, read_login, role_login_path, url_for


@dataclass(frozen=True)
class Target:
    """A system and how to get into it."""

    url: str = field(repr=False)
    """May hold a password; show `shown_url` instead."""
    base_url: str = field(default="", repr=False)
    """What is configured, where `url` comes as the operator's own user of the server instead; else empty."""
    namespace: str = "mas"
    partitions: int = 1
    profile: str = "durable"
    project: Project | None = None
    keys_dir: Path | None = None
    tokens_dir: Path | None = None
    operator: str = ""
    """Where the credential of the operator is: a path, `fd:NUMBER` or a reference to a secret; empty for nobody."""
    operator_cert: str = ""
    """File with certificate and key of the operator, where the credential holds no token."""
    name: str = ""
    protected: bool = False
    read_only: bool = False
    source: str = ""
    """What decided: --url, --context, the name of a variable, project, or selected."""

    @property
    def shown_url(self) -> str:
        """The URL without its secret."""
        return mask_url(self.url)

    def url_as(self, role: Role) -> str:
        """The URL for one of the system's own roles: `url` itself where it has no users of the server."""
        if not self.base_url or self.keys_dir is None:
            return self.url
        return url_for(self.base_url, read_login(role_login_path(self.keys_dir, role)))

    def as_operator(self) -> Target:
        """The same as the operator's own user of the server, where the keys hold its login."""
        if self.base_url or self.keys_dir is None or self.url.startswith("memory:"):
            return self
        login = read_login(role_login_path(self.keys_dir, "operator"))
        return self if login is None else replace(self, url=url_for(self.url, login), base_url=self.url)


def resolve_target(
    *,
    context: str | None = None,
    config: Path | None = None,
    url: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Target:
    """The system that the flags, the environment, the project and the user's contexts lead to.

    Args:
        context: Value of --context.
        config: Value of --config: a mas.yaml or its folder.
        url: Value of --url.
        environ: `MAS_URL`, `MAS_CONTEXT` and `REDIS_URL` are read, in this order; `MAS_OPERATOR` says where the
            credential of the operator is, whatever the context says.

    Raises:
        ContextNotFound: The named context does not exist.
        ProjectNotFound: Nothing leads anywhere.
        StoreUnreachable: There is a project, but nothing of it runs and it names no server.
        SecretUnavailable: A secret that the URL refers to cannot be had.
        ConfigurationError: A file cannot be used.
    """
    target = _found(context, config, url, environ)
    return replace(
        target,
        operator=environ.get(VARIABLE) or target.operator,
        operator_cert=environ.get(CERTIFICATE_VARIABLE) or target.operator_cert,
    )


def _found(context: str | None, config: Path | None, url: str | None, environ: Mapping[str, str]) -> Target:
    store = ContextStore(environ=environ)
    project = project_at(config) if config else None
    if context:
        target = _of_context(store.get(context), store.folder, "--context", environ)
        return replace(target, url=filled(url, Path.cwd()), source="--url") if url else target
    if url:
        return _of_url(url, "--url", project or find_project(environ=environ), environ)
    if project is None:
        if named := environ.get("MAS_URL"):
            return _of_url(named, "MAS_URL", find_project(environ=environ), environ)
        if named := environ.get("MAS_CONTEXT"):
            return _of_context(store.get(named), store.folder, "MAS_CONTEXT", environ)
        if named := environ.get("REDIS_URL"):
            return _of_url(named, "REDIS_URL", find_project(environ=environ), environ)
        project = find_project(environ=environ)
    if project:
        return _of_project(project, "project", environ)
    if selected := store.selected():
        return _of_context(selected, store.folder, "selected", environ)
    raise ProjectNotFound(hint=("mas init DIR", "mas context add NAME --url URL"))


def chosen_context(
    *,
    context: str | None = None,
    config: Path | None = None,
    url: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Context | None:
    """The context that `resolve_target` would take, without a look at what runs; None where no context decides.

    Raises:
        ContextNotFound: The named context does not exist.
    """
    store = ContextStore(environ=environ)
    if context:
        return store.get(context)
    if url or config or environ.get("MAS_URL"):
        return None
    if named := environ.get("MAS_CONTEXT"):
        return store.get(named)
    if environ.get("REDIS_URL") or find_project(environ=environ):
        return None
    return store.selected()


def named_operator(
    *,
    context: str | None = None,
    config: Path | None = None,
    url: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Where the credential of the operator is, without a look at what runs; empty for nobody.

    Raises:
        ContextNotFound: The named context does not exist.
    """
    if named := environ.get(VARIABLE):
        return named
    found = chosen_context(context=context, config=config, url=url, environ=environ)
    return str(found.operator or "") if found is not None else ""


def _in_project(project: Project, url: str, source: str, loaded: LoadedConfig) -> Target:
    return Target(
        url=url,
        namespace=loaded.config.namespace,
        partitions=loaded.config.partitions,
        profile=loaded.config.profile,
        project=project,
        keys_dir=project.keys_dir,
        tokens_dir=project.tokens_dir,
        name=loaded.config.name,
        source=source,
    )


def _of_project(project: Project, source: str, environ: Mapping[str, str]) -> Target:
    loaded = load_config(project, environ=environ)
    if running := read_running(project):
        return replace(
            _in_project(project, filled(running.url, project.root), source, loaded),
            namespace=running.namespace,
            partitions=running.partitions,
            profile=running.profile,
        ).as_operator()
    if url := loaded.server_url():
        return _in_project(project, url, source, loaded).as_operator()
    raise StoreUnreachable(
        f"nothing runs in the project {loaded.config.name} ({project.root})",
        hint=("mas up", "mas up --detach"),
        project=str(project.root),
    )


def _of_url(url: str, source: str, project: Project | None, environ: Mapping[str, str]) -> Target:
    url = filled(url, project.root if project else Path.cwd())
    if project is None:
        return Target(url=url, name=mask_url(url), source=source)
    target = _in_project(project, url, source, load_config(project, environ=environ))
    return target if has_login(url) else target.as_operator()


def _of_context(context: Context, folder: Path, source: str, environ: Mapping[str, str]) -> Target:
    project = project_at(context.project) if context.project else None
    if project and not context.url:
        target = _of_project(project, source, environ)
    else:
        target = Target(
            url=filled(context.url or "", folder),
            namespace=context.namespace,
            partitions=context.partitions,
            profile=context.profile,
            project=project,
            keys_dir=context.keys_dir or (project.keys_dir if project else None),
            tokens_dir=context.tokens_dir or (project.tokens_dir if project else None),
            source=source,
        )
        target = target if has_login(target.url) else target.as_operator()
    return replace(
        target,
        operator=str(context.operator or ""),
        operator_cert=str(context.operator_cert or ""),
        name=context.name,
        protected=context.protected,
        read_only=context.read_only,
    )
