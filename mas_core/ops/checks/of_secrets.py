"""Check of secrets: what is referred to can be had, and what could be referred to does not stand in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mas_core.errors import MasError, SecretUnavailable
from mas_core.ops.checks.finding import Bounds, Finding
from mas_core.ops.checks.look import Look
from mas_core.ops.health.report import HealthStatus
from mas_core.settings.masking import mask_url
from mas_core.settings.private_files import read_private
from mas_core.settings.project import Project
from mas_core.settings.project_config import LoadedConfig, load_config
from mas_core.settings.secrets import check_own, filled, holds_reference, is_reference

_MOST_BYTES = 4096
"""References are short."""


class _Reference(NamedTuple):
    name: str
    """What to call what is there."""
    text: str
    path: Path
    """The file that refers to it."""
    folder: Path
    """Where commands run and paths start."""


def secrets(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """Every reference of the project leads to a secret, and its mas.yaml holds no password."""
    if look.project is None:
        yield Finding("secrets", "ok", "no project here, so no references")
        return
    try:
        loaded = load_config(look.project)
        references = [*_of_settings(loaded), *_of_files(look.project), *_of_specs(loaded)]
    except MasError as error:
        yield Finding("secrets", "warn", error.message.splitlines()[0], "mas config validate")
        return
    troubles = [*_in_the_clear(loaded), *_not_at_hand(references)]
    yield from troubles
    if not troubles:
        count = "1 reference leads" if len(references) == 1 else f"{len(references)} references lead"
        yield Finding("secrets", "ok", f"{count} to secrets" if references else "nothing refers to a secret")


def _not_at_hand(references: list[_Reference]) -> Iterator[Finding]:
    for name, text, path, folder in references:
        try:
            check_own(path)
            filled(text, folder)
        except MasError as error:
            # Other shells may have other variables.
            status: HealthStatus = (
                "warn" if "env:" in text and isinstance(error, SecretUnavailable) else "red"
            )
            fix = error.hint[0] if error.hint else "mas config where"
            yield Finding("secrets", status, f"{name}: {error.message}", fix)


def _in_the_clear(loaded: LoadedConfig) -> Iterator[Finding]:
    for item in loaded.settings(unmasked=True):
        value = item.value
        if (
            item.source == "project"
            and isinstance(value, str)
            and item.name.endswith("url")
            and not holds_reference(value)
            and mask_url(value) != value
        ):
            yield Finding(
                "secrets",
                "warn",
                f"{item.name} in {loaded.project.config_path.name} holds a password",
                "write  ${file:PATH}  in its place, and  chmod 600 PATH",
            )


def _of_settings(loaded: LoadedConfig) -> Iterator[_Reference]:
    for item in loaded.settings(unmasked=True):
        if isinstance(item.value, str) and holds_reference(item.value):
            yield _Reference(item.name, item.value, loaded.project.config_path, loaded.project.root)


def _of_specs(loaded: LoadedConfig) -> Iterator[_Reference]:
    for spec in loaded.specs():
        for name, text in spec.secrets.items():
            path = spec.source or loaded.project.config_path
            yield _Reference(f"the secret {name} of {spec.agent_id}", text, path, loaded.project.root)


def _of_files(project: Project) -> Iterator[_Reference]:
    for folder in (project.keys_dir, project.tokens_dir):
        for path in sorted(folder.iterdir()):
            with suppress(MasError, OSError):
                if path.is_file() and path.stat().st_size <= _MOST_BYTES:
                    text = read_private(path).decode(errors="replace").strip()
                    if is_reference(text):
                        yield _Reference(path.name, text, path, folder)
