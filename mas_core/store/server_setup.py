"""How a server is set up: its users, its clock, and keys that should expire and do not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mas_core.errors import MasError
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys

SCANNED_KEYS = 50_000
"""So many keys are looked at, about, for those without an expiry."""
_PAGE = 1000
_WRITES = ("+@all", "+@write", "+@stream", "+xadd", "allcommands")


@dataclass(frozen=True, slots=True)
class ServerUser:
    """A user of the server who may log in."""

    name: str
    needs_password: bool
    can_write: bool
    """Whether it may add to inboxes or to the audit."""
    is_agent: bool
    """Whether it was made for an agent."""
    is_trusted: bool = False
    """Whether it is the gateway's, that of a server of agents, or the operator's."""


@dataclass(frozen=True, slots=True)
class ServerSetup:
    """What the server says of how it is set up."""

    round_trip_s: float
    clock_ahead_s: float
    """How far its clock is ahead of ours; negative when it is behind."""
    me: str
    """The user that we are there."""
    users: tuple[ServerUser, ...] | None
    """None where it does not tell."""
    lasting: tuple[str, ...]
    """Keys that should expire and do not; the first of them."""
    lasting_count: int
    scanned: int
    """How many keys were looked at."""


async def server_setup(connection: Connection, keys: Keys) -> ServerSetup:
    """Look at it once.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    before = time.monotonic()
    there = await connection.time_ms()
    took = time.monotonic() - before
    ahead = there / 1000 - (time.time() - took / 2)
    lasting, scanned = await _lasting(connection, keys)
    me, users = await _users(connection, keys)
    return ServerSetup(took, ahead, me, users, tuple(lasting[:10]), len(lasting), scanned)


async def _lasting(connection: Connection, keys: Keys) -> tuple[list[str], int]:
    scanned = 0
    found: set[str] = set()
    async for page in connection.scan(f"{keys.namespace}:{{*", _PAGE):
        scanned += len(page)
        wanted = [name.decode(errors="replace") for name in page if keys.should_expire(name)]
        if wanted:
            pipeline = Pipeline()
            for name in wanted:
                pipeline.add("TTL", name)
            replies = await connection.run(pipeline)
            found |= {name for name, left in zip(wanted, replies, strict=True) if left == -1}
        if scanned >= SCANNED_KEYS:
            break
    return sorted(found), scanned


async def _users(connection: Connection, keys: Keys) -> tuple[str, tuple[ServerUser, ...] | None]:
    if connection.is_memory:
        return "", None
    try:
        me = (await connection.call("ACL", "WHOAMI")).decode()
        lines = [line.decode(errors="replace").split() for line in await connection.call("ACL", "LIST")]
    except (MasError, AttributeError):
        return "", None
    agents = keys.server_user("")
    trusted = {keys.role_user(role) for role in ("gateway", "front", "operator")}
    targets = (keys.inbox(0, "doctor", "normal"), keys.audit(0))
    users = []
    for _, name, *rules in lines:
        if "on" not in rules:
            continue
        users.append(
            ServerUser(
                name,
                "nopass" not in rules,
                await _can_write(connection, name, rules, targets),
                name.startswith(agents),
                name in trusted,
            )
        )
    return me, tuple(users)


async def _can_write(connection: Connection, name: str, rules: Sequence[str], targets: Sequence[str]) -> bool:
    try:
        answers: list[Any] = [
            await connection.call("ACL", "DRYRUN", name, "XADD", target, "*", "f", "v") for target in targets
        ]
    except MasError:
        # A server before 7.0 does not try it out: what the rules seem to say is taken.
        return bool({"~*", "allkeys"} & set(rules)) and any(rule in _WRITES for rule in rules)
    return any(answer in (b"OK", "OK") for answer in answers)
