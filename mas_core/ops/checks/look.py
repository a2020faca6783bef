"""What checks look at: gathered once, by those facts that the chosen checks need."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mas_core.errors import ConfigurationError, MasError, SecretUnavailable
from mas_core.ops.checks.finding import Needs
from mas_core.ops.health.findings import judge
from mas_core.ops.health.observation import Expectations, Observation, expectations_of, observe
from mas_core.ops.health.report import HealthReport
from mas_core.ops.system import System
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target
from mas_core.settings.tls_files import TlsFiles
from mas_core.settings.transport import agent_tls, server_tls, transport_of, wants_server
from mas_core.store.profiles import ServerFacts, server_facts
from mas_core.store.server_setup import ServerSetup, server_setup

if TYPE_CHECKING:
    from mas_core.ops.certificate_problems import CertificateProblem

_MOST_FILES = 100_000
_SECRET_FOLDERS = ("keys", "tokens", "payloads", "certs")
"""Their files are refused when others can read them, whatever the folders above say."""


@dataclass(frozen=True, slots=True)
class CompletionFile:
    """Where the completions of the user's shell are, and what should be in the file."""

    shell: str
    path: Path
    script: str


@dataclass(frozen=True, slots=True)
class OpenPath:
    """A private file or folder that others can read or change."""

    path: Path
    mode: int
    is_folder: bool


@dataclass(frozen=True, slots=True)
class CertificateLook:
    """The certificates of a project that has some."""

    problems: tuple[CertificateProblem, ...]
    open_keys: tuple[OpenPath, ...]
    """Keys outside of `.mas/` that others can read."""


@dataclass(frozen=True, slots=True)
class Look:
    """A machine, a project and a system at one moment; what could not be reached is None."""

    project: Project | None = None
    completion: CompletionFile | None = None
    open_paths: tuple[OpenPath, ...] = ()
    servers: tuple[ServerFacts, ...] | None = None
    setup: ServerSetup | None = None
    seen: Observation | None = None
    expected: Expectations = field(default_factory=Expectations)
    health: HealthReport | None = None
    dead_letters: int = 0
    token_expiries: tuple[tuple[int, str], ...] = ()
    """When the last valid key of an agent ends, in Unix milliseconds, and whose it is; the next to end first."""
    trouble: MasError | None = None
    """Why a system cannot be looked at."""
    certificates: CertificateLook | None = None
    """None where nobody needs one."""

    def has(self, needs: Needs) -> bool:
        """Whether what a check needs was reached."""
        return needs == "machine" or (self.setup if needs == "server" else self.seen) is not None


async def look(
    find_target: Callable[[], Target],
    project: Project | None,
    needs: Collection[Needs],
    completion: CompletionFile | None = None,
) -> Look:
    """Look once; what cannot be reached is in `trouble`, never raised.

    Args:
        find_target: Finds the system; may raise.
        project: The project, where there is one.
        needs: What has to be looked at.
        completion: Where completions should be.
    """
    # Before anything else: opening the folders of a project makes them private again.
    open_paths = open_private_paths(project) if project else ()
    certificates = look_at_certificates(project) if project else None
    here = Look(project, completion, open_paths, certificates=certificates)
    if not {"server", "system"} & set(needs):
        return here
    try:
        target = find_target()
        async with System(target) as system:
            system.access.require("see", "to look at the system")
            return await _look_at(system, here)
    except MasError as error:
        return replace(here, trouble=error)


async def _look_at(system: System, here: Look) -> Look:
    store, target = system.store, system.target
    expected = expectations_of(target.project, target.profile)
    servers = tuple(await server_facts(store.connection))
    setup = await server_setup(store.connection, store.keys)
    known = (here.project, here.completion, here.open_paths, servers, setup)
    try:
        seen = await observe(system)
        entries = await system.registry.entries()
    except SecretUnavailable as error:
        return replace(here, servers=servers, setup=setup, expected=expected, trouble=error)
    expiries = []
    for entry in entries:
        valid = [key.expires for key in entry.registration.keys if key.is_valid(seen.now)]
        if valid and all(valid):
            expiries.append((max(valid), entry.agent_id))
    return Look(
        *known,
        seen,
        expected,
        judge(seen, expected),
        await store.records.dead_letters(),
        tuple(sorted(expiries)),
        certificates=here.certificates,
    )


def look_at_certificates(project: Project) -> CertificateLook | None:
    """The certificates of the server and the agents of a project; None where nobody goes through a server."""
    try:
        loaded = load_config(project)
        specs = loaded.specs()
        if not wants_server(loaded, specs):
            return None
        from mas_core.ops.certificate_problems import certificate_problems  # noqa: PLC0415 - slow, and few have any

        problems = certificate_problems(loaded, specs)
    except (ConfigurationError, SecretUnavailable):
        # What is wrong with these files is found by another check.
        return None
    served = [agent_tls(spec, loaded) for spec in specs if transport_of(spec, loaded) == "server"]
    return CertificateLook(tuple(problems), tuple(_open_keys(project, [server_tls(loaded), *served])))


def _open_keys(project: Project, files: Iterable[TlsFiles]) -> Iterator[OpenPath]:
    for path in sorted({item.key_path for item in files}):
        try:
            mode = stat.S_IMODE(path.lstat().st_mode)
        except OSError:
            continue
        if mode & 0o077 and not path.is_relative_to(project.root / ".mas"):
            yield OpenPath(path, mode, is_folder=False)


def open_private_paths(project: Project) -> tuple[OpenPath, ...]:
    """What of `.mas/` others can read or change: whatever is open in folders that are open, and any secret."""
    found = []
    for count, (path, is_reachable) in enumerate(_under(project.root / ".mas")):
        if count > _MOST_FILES:
            break
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        is_folder, is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
        if (is_folder or is_file) and stat.S_IMODE(mode) & 0o077 and is_reachable:
            found.append(OpenPath(path, stat.S_IMODE(mode), is_folder))
    return tuple(sorted(found, key=lambda item: item.path))


def _under(top: Path, *, is_reachable: bool = True) -> Iterator[tuple[Path, bool]]:
    """Everything in a folder and itself, and whether folders above keep nobody from it."""
    yield top, is_reachable
    try:
        entries = sorted(os.scandir(top), key=lambda entry: entry.name)
        within = is_reachable and bool(top.stat().st_mode & 0o077)
    except OSError:
        return
    within = within or top.name in _SECRET_FOLDERS
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _under(path, is_reachable=within or entry.name in _SECRET_FOLDERS)
        else:
            yield path, within
