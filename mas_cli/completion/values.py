"""Names that exist right now (contexts, agents, message types and ids), for completion.

A provider has 300 ms; its answer is kept for 30 s. A provider that fails or is late has no names.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mas_cli.deadlines import interrupted_after

DEADLINE = 0.3
KEPT = 30.0

Names = list[tuple[str, str]]

_ELSEWHERE = ("MAS_URL", "MAS_CONTEXT", "REDIS_URL")
"""Variables that lead to another system than the project's."""

_PLAIN = re.compile(r"[\w.@/+-][\w.@/+:-]*", re.ASCII)
"""Only names that no shell would treat as anything but a word are offered."""
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")


def contexts(_given: Sequence[str]) -> Names:
    """Names of the contexts of this user."""
    from mas_core.settings.user_folder import user_folder

    # the files are named after the contexts, and reading them would take longer than a TAB may
    return [(path.stem, "") for path in sorted((user_folder() / "contexts").glob("*.yaml"))]


def topics(_given: Sequence[str]) -> Names:
    """Help topics."""
    from mas_cli.reference.topics import TOPICS

    return [(topic, "") for topic in TOPICS]


def agents(given: Sequence[str]) -> Names:
    """Ids of the agents of the system that the words before the cursor lead to."""
    import asyncio

    from mas_core.ops.registered_names import registered_names

    return [(name, "") for name in asyncio.run(registered_names(*_system(given)))]


def approvals(given: Sequence[str]) -> Names:
    """Ids of the approvals that messages wait for."""
    import asyncio

    from mas_core.ops.waiting_names import waiting_names

    return [(name, "") for name in asyncio.run(waiting_names(*_system(given)))]


def scheduled(given: Sequence[str]) -> Names:
    """Ids of scheduled messages."""
    import asyncio

    from mas_core.ops.waiting_names import scheduled_names

    return [(name, "") for name in asyncio.run(scheduled_names(*_system(given)))]


def letters(given: Sequence[str]) -> Names:
    """Ids of the newest dead letters."""
    import asyncio

    from mas_core.ops.waiting_names import letter_names

    return [(name, "") for name in asyncio.run(letter_names(*_system(given)))]


def types(given: Sequence[str]) -> Names:
    """Message types that agents take, or that were sent last."""
    import asyncio

    from mas_core.ops.recent_names import recent_types

    return [(name, "") for name in asyncio.run(recent_types(*_system(given)))]


def messages(given: Sequence[str]) -> Names:
    """Ids of the newest messages, each with what it was."""
    import asyncio

    from mas_core.ops.recent_names import recent_messages

    return asyncio.run(recent_messages(*_system(given)))


def _system(given: Sequence[str]) -> tuple[str, str, int]:
    """URL, namespace and partitions; where a project runs, nothing else is looked at, since that is slow."""
    context, url = _given_value(given, "--context", "-c"), _given_value(given, "--url")
    config = _given_value(given, "--config")
    if not (context or url or any(os.environ.get(name) for name in _ELSEWHERE)):
        from mas_core.settings.project import find_project, project_at
        from mas_core.settings.running_context import read_running
        from mas_core.settings.secrets import filled

        project = project_at(Path(config)) if config else find_project()
        running = read_running(project) if project else None
        if project and running:
            return filled(running.url, project.root), running.namespace, running.partitions
    from mas_core.settings.target import resolve_target

    target = resolve_target(context=context, config=Path(config) if config else None, url=url)
    return target.url, target.namespace, target.partitions


def _given_value(given: Sequence[str], *flags: str) -> str | None:
    found = None
    for word, following in zip(given, [*given[1:], None], strict=False):
        name, equals, value = word.partition("=")
        if name in flags:
            found = value if equals else following
    return found


PROVIDERS: dict[str, Callable[[Sequence[str]], Names]] = {
    "CONTEXT": contexts,
    "TOPIC": topics,
    "APPROVAL": approvals,
    "SCHEDULED": scheduled,
    "LETTER": letters,
    "TYPE": types,
    "MESSAGE": messages,
    **dict.fromkeys(("AGENT", "TARGET", "FROM", "TO"), agents),
}
"""Kind of value -> what knows the names; it gets the words before the cursor."""

UNCACHED = {"CONTEXT", "TOPIC", "APPROVAL", "LETTER", "MESSAGE"}
"""Kinds that are quicker to look up than to keep, or change all the time."""


def files(start: str) -> list[str]:
    """Paths that begin with `start`."""
    folder, _, _ = start.rpartition("/")
    found = [f"{path}/" if path.is_dir() else str(path) for path in Path(folder or ".").iterdir()]
    if start.startswith("./"):
        found = [f"./{path}" for path in found]
    return sorted(path for path in found if path.startswith(start) and _PLAIN.fullmatch(path))


def live_values(kind: str, given: Sequence[str]) -> Names:
    """The names of a kind, with a description each; empty when they cannot be had in time."""
    provider = PROVIDERS.get(kind)
    if provider is None:
        return []
    cached = None if kind in UNCACHED else _Cached(kind, given)
    if cached is not None and (kept := cached.read()) is not None:
        return kept
    try:
        with interrupted_after(DEADLINE, TimeoutError):
            found = provider(given)
    except Exception:  # noqa: BLE001 - no names is the answer to every failure
        return []
    safe = [(value, _NOT_PLAIN.sub(" ", text)) for value, text in found if _PLAIN.fullmatch(value)]
    if cached is not None:
        cached.write(safe)
    return safe


class _Cached:
    """The last answer for a kind, in the words' context and folder."""

    def __init__(self, kind: str, given: Sequence[str]) -> None:
        named = [os.environ.get(name, "") for name in ("MAS_CONTEXT", "MAS_URL", "MAS_CONFIG_FILE")]
        key = json.dumps([kind, Path.cwd().as_posix(), named, list(given)])
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self._path = Path(home) / "mas" / "completion" / f"{digest}.json"

    def read(self) -> Names | None:
        try:
            if time.time() - self._path.stat().st_mtime > KEPT:
                return None
            return [(str(value), str(text)) for value, text in json.loads(self._path.read_bytes())]
        except (OSError, ValueError):
            return None

    def write(self, names: Names) -> None:
        draft = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(names, file)
            draft.replace(self._path)
        except OSError:
            return
