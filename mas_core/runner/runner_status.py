"""What a runner says of itself, in its heartbeat in the store."""

from __future__ import annotations

import contextlib

import msgspec

RUNNER_EXPIRY_MS = 5_000
"""A runner counts as running for this long after its last heartbeat."""
MAX_NAMED = 50
"""Instances that a heartbeat names; more are only counted."""


class ScaledAgent(msgspec.Struct, frozen=True):
    """How many instances of an agent a runner has, where it decides that itself."""

    agent_id: str
    count: int
    min: int
    max: int
    backlog: int
    """Messages delivered and not settled, by the last look."""
    reason: str = ""
    """Why it has so many; empty while it has as many as at the start."""
    since: int = 0
    """Since when, in Unix milliseconds by the server's clock."""


class InstanceTrouble(msgspec.Struct, frozen=True):
    """An instance that does not run."""

    agent_id: str
    number: int
    state: str
    """starting, waiting (for its next start) or gave_up."""
    message: str = ""
    restarts: int = 0


class RunnerStatus(msgspec.Struct, frozen=True):
    """One runner: the process of `mas up` or `mas agent run`."""

    runner_id: str
    seen: int
    """Unix milliseconds by the server's clock."""
    started: int
    host: str
    pid: int
    instances: int = 0
    """Instances that it looks after, running or not."""
    scaled: tuple[ScaledAgent, ...] = ()
    troubles: tuple[InstanceTrouble, ...] = ()
    """At most 50 of those that do not run."""
    loop_lag_ms: int = 0
    """How late its event loop was at worst lately."""


def live_runners(fields: dict[str, bytes], now: int) -> list[RunnerStatus]:
    """The runners with a fresh heartbeat, by id."""
    found = []
    for text in fields.values():
        # One that cannot be read is of another version, or somebody else's.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            found.append(msgspec.json.decode(text, type=RunnerStatus))
    return sorted(
        (item for item in found if item.seen + RUNNER_EXPIRY_MS > now), key=lambda item: item.runner_id
    )
