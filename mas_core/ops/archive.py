"""The archive of the audit: copy segments, trim the store, delete what is too old, and bring segments back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mas_core.audit.archive_target import ArchiveTarget, open_target
from mas_core.audit.checkpoint_keys import PUBLIC_FILE, CheckpointKeys
from mas_core.audit.keeping import Keeper, Kept
from mas_core.audit.note import VerifierKey
from mas_core.audit.process import EVIDENCE_NAME
from mas_core.audit.restoring import Restored, restore_folder, restore_missing
from mas_core.errors import ConfigurationError, NoteInvalid, NotFound, SecretUnavailable, UsageError
from mas_core.model.retention import describe_retention, in_force
from mas_core.ops.rbac import load
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.settings.gateway_settings import AuditSettings
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.secrets import check_own, filled, holds_reference

__all__ = ["ArchiveRun", "Kept", "Restored", "archive", "restore"]


@dataclass(frozen=True, slots=True)
class ArchiveRun:
    """What one run did."""

    where: str
    """The archive; empty when the evidence folder alone keeps segments."""
    partitions: tuple[Kept, ...]


async def archive(
    system: System,
    *,
    url: str = "",
    folder: Path | None = None,
    trim: bool = True,
    dry_run: bool = False,
    on_copied: Callable[[str], object] | None = None,
) -> ArchiveRun:
    """Copy closed segments to the archive, then take out of the store what the retention in force lets go.

    Args:
        system: The system.
        url: A folder, or a URL that fsspec knows; what the settings say when left out.
        folder: The evidence folder; as the project says when left out.
        trim: Take old records out of the store, and delete old segments where policy says so.
        dry_run: Look at everything, and change nothing.
        on_copied: Gets the name of each segment that was copied.

    Raises:
        ConfigurationError: The archive or the evidence folder cannot be used.
        LockHeld: Another run is at work.
        NotFound: There is no evidence yet.
        SecretUnavailable: The keys are not at hand.
    """
    project, keys_dir = system.target.project, system.target.keys_dir
    folder = folder or evidence_folder(project, keys_dir)
    if keys_dir is None:
        raise SecretUnavailable(
            "this needs the keys that sign checkpoints", hint="run it in the project folder"
        )
    keys = CheckpointKeys(folder, keys_dir, system.store.namespace)
    target = _target(url, project, keys, folder)
    rule = in_force((await load(system)).retention) if trim else None
    keeper = Keeper(system.store.records, folder, keys, target)
    partitions = range(system.store.width)
    where = target.shown if target is not None else ""
    if dry_run:
        return ArchiveRun(where, tuple(await keeper.run(partitions, rule, dry_run=True)))
    with acting("audit.archive", where or "store"):
        wanted = {"archive": where, "retention": describe_retention(rule)}
        async with system.operator_log.writing("archive", change=wanted) as change:
            found = await keeper.run(partitions, rule, on_copied=on_copied)
            change.facts = {**wanted, "partitions": [_facts(kept) for kept in found]}
    return ArchiveRun(where, tuple(found))


async def restore(project: Project | None, *, url: str = "", out: Path | None = None) -> Restored:
    """Bring segments back from the archive: those that the evidence folder lacks, or a whole folder.

    Args:
        project: The project; None for a whole folder from a URL.
        url: The archive, or the folder of one system in it; what the settings say when left out.
        out: Where a whole folder goes; the missing segments of the evidence folder come back when left out.

    Raises:
        ArchiveUnavailable: The archive does not answer.
        ConfigurationError: No archive is known, or it cannot be used.
        Conflict: Something is in the way at `out`.
        EvidenceDamaged: What the archive has is not what was signed; nothing came back.
        NotFound: There is nothing in the archive, or no evidence folder.
        UsageError: Several systems share the archive, and it is not clear which is meant.
    """
    if not url and project is not None:
        url = audit_settings(project).archive.url
    if not url:
        raise ConfigurationError(
            "no archive is known", hint=("--from URL", "set gateway.audit.archive.url in mas.yaml")
        )
    if out is not None:
        return await asyncio.to_thread(
            restore_folder, await asyncio.to_thread(_only_system, url, project), out
        )
    if project is None:
        raise UsageError("without a project the segments need a folder", hint="--out DIR")
    folder = evidence_folder(project)
    public = public_keys(folder)
    target = _opened(url, project, system_folder(public))
    return await asyncio.to_thread(restore_missing, folder, public, target)


def evidence_folder(project: Project | None, keys_dir: Path | None = None) -> Path:
    """Where the evidence of a system is.

    Args:
        project: Its project, where there is one.
        keys_dir: The folder of its keys, which the evidence lies beside where there is no project.

    Raises:
        NotFound: There is none.
    """
    folder = keys_dir.parent / EVIDENCE_NAME if keys_dir is not None else None
    if project is not None:
        folder = audit_settings(project).folder or project.data_dir / EVIDENCE_NAME
    if folder is None or not (folder / PUBLIC_FILE).is_file():
        raise NotFound(
            "there is no evidence of this system here",
            hint=("mas audit notary status", "run it in the project folder"),
        )
    return folder


def audit_settings(project: Project | None) -> AuditSettings:
    """The settings of a system's audit: the project's, or the usual ones without a project."""
    return load_config(project).config.gateway.audit if project is not None else AuditSettings()


def public_keys(folder: Path) -> tuple[VerifierKey, ...]:
    """The public keys of an evidence folder, the oldest first.

    Raises:
        ConfigurationError: They cannot be read.
    """
    path = folder / PUBLIC_FILE
    try:
        keys = tuple(VerifierKey.parse(line) for line in path.read_text().split())
    except (OSError, UnicodeDecodeError, NoteInvalid) as error:
        raise ConfigurationError(f"{path} cannot be used: {error}", path=str(path)) from error
    if not keys:
        raise ConfigurationError(f"{path} holds no key", path=str(path))
    return keys


def system_folder(keys: Sequence[VerifierKey]) -> str:
    """The name of a system's folder in an archive: namespace and system id."""
    return "-".join(keys[0].name.split("/")[:2])


def _facts(kept: Kept) -> dict[str, object]:
    """What an audit record says of a run for a partition."""
    return {
        "partition": kept.partition,
        "copied": len(kept.copied),
        "trimmed": kept.trimmed,
        "trimmed_to": kept.trimmed_to,
        "deleted": list(kept.deleted),
        "problem": kept.problem.message if kept.problem is not None else "",
    }


def _opened(url: str, project: Project | None, system: str) -> ArchiveTarget:
    """The place at a URL; what the settings say beside their own URL goes to no other."""
    settings = audit_settings(project).archive
    options = {}
    if project is not None and url == settings.url:
        if any(holds_reference(value) for value in settings.options.values()):
            check_own(project.config_path)
        options = {name: filled(value, project.root) for name, value in settings.options.items()}
    return open_target(url, system, options)


def _target(url: str, project: Project | None, keys: CheckpointKeys, folder: Path) -> ArchiveTarget | None:
    if not (url := url or audit_settings(project).archive.url):
        return None
    target = _opened(url, project, system_folder(keys.public))
    if Path(target.shown).is_relative_to(folder.absolute()):
        raise ConfigurationError(f"{target.shown} is the evidence folder itself", hint="--to another disk")
    return target


def _only_system(url: str, project: Project | None) -> ArchiveTarget:
    """The folder of the one system at a URL, which may be that folder itself."""
    here = _opened(url, project, "")
    names = [name for name in here.names() if name == PUBLIC_FILE or name.endswith(f"/{PUBLIC_FILE}")]
    systems = [name.removesuffix(PUBLIC_FILE).rstrip("/") for name in names if name.count("/") <= 1]
    if not systems:
        raise NotFound(f"there is no archive in {here.shown}", hint="mas audit archive --to URL")
    if len(systems) > 1:
        raise UsageError(
            f"{len(systems)} systems share the archive {here.shown}",
            hint=[f"--from {url.rstrip('/')}/{name}" for name in systems[:5]],
        )
    return _opened(url, project, systems[0]) if systems[0] else here
