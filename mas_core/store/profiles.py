"""What a server has to be set up for, so that the durability profile of a system means what it says.

fast      receipts wait for the commit; a power cut may lose about a second
durable   and for the disk; survives power cuts, may lose what was acknowledged just before a fail-over
ha        and for a replica; survives the loss of a primary too
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from mas_core.errors import ProfileUnmet
from mas_core.store.connection import Connection

OLDEST: Final = (6, 2)
"""The first version of Redis that has every command we use; Valkey says which one it is compatible with."""
_REPLICAS: Final = {"ha": 1}
_FSYNC: Final = {"fast": ("everysec", "always"), "durable": ("always",), "ha": ("always",)}
_ONLINE: Final = re.compile(r"(^|,)state=online(,|$)")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server that takes writes says of itself."""

    place: str
    """host:port of a node of a Cluster; empty of a server that stands alone."""
    program: str
    """valkey, redis, or memory."""
    version: str
    compatible: tuple[int, ...]
    """The version of Redis whose commands it has."""
    append_only: str
    """always, everysec, no, off, or unknown when the server does not tell."""
    eviction: str
    """What it does when memory is full: noeviction, or which keys it drops."""
    replicas: int
    """Replicas that are connected and up to date."""
    needs_replicas: bool
    """Whether it refuses writes that no replica gets (`min-replicas-to-write`)."""
    memory_bytes: int
    memory_limit: int = 0
    """Bytes that it may use; 0 for all there are."""
    takes_writes: bool = True
    """Whether it could write its append-only file when it tried last; it takes no writes until it can."""
    saves: bool = True
    """Whether its last snapshot, and the last time that it wrote its file anew, went well."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Something that keeps a server from what the profile promises."""

    message: str
    fix: str
    """A command that leads on."""
    kind: Literal["version", "persistence", "eviction"] = "persistence"


def replicas_of(profile: str) -> int:
    """How many replicas must have what was acknowledged under a profile."""
    return _REPLICAS.get(profile, 0)


async def server_facts(connection: Connection) -> list[ServerFacts]:
    """What every server that takes writes says of itself.

    Raises:
        StoreUnreachable: One of them does not answer.
    """
    if connection.is_memory:
        return [ServerFacts("", "memory", "memory", OLDEST, "memory", "noeviction", 0, False, 0)]
    infos = await connection.run_everywhere("INFO")
    syncs = await connection.run_everywhere("CONFIG", "GET", "appendfsync")
    return [_facts(place, _lines(info), syncs.get(place)) for place, info in infos.items()]


def shortfalls(profile: str, servers: Sequence[ServerFacts]) -> list[Shortfall]:
    """What keeps the servers from what the profile promises."""
    return [found for server in servers for found in _shortfalls(profile, server)]


async def require_profile(connection: Connection, profile: str) -> None:
    """Make sure that the servers can keep what the profile promises.

    Raises:
        ProfileUnmet: They cannot; says why, and what to do.
        StoreUnreachable: One of them does not answer.
    """
    if found := shortfalls(profile, await server_facts(connection)):
        raise ProfileUnmet(
            "; ".join(dict.fromkeys(item.message for item in found)),
            hint=(*dict.fromkeys(item.fix for item in found), "--force goes on all the same"),
            profile=profile,
        )


def _shortfalls(profile: str, server: ServerFacts) -> list[Shortfall]:
    if server.program == "memory":
        return []
    where = f"the server at {server.place}" if server.place else "the server"
    cli = f"redis-cli -h {server.place.rpartition(':')[0]} -p {server.place.rpartition(':')[2]}"
    cli = cli if server.place else "redis-cli"
    found = []
    if server.compatible < OLDEST:
        needed = ".".join(map(str, OLDEST))
        found.append(
            Shortfall(
                f"mas needs Redis {needed} or Valkey, but {where} is {server.version}", "mas up", "version"
            )
        )
    wanted = _FSYNC.get(profile, ())
    if server.append_only not in wanted:
        has = "does not tell" if server.append_only == "unknown" else f"has {server.append_only}"
        found.append(
            Shortfall(
                f"the profile {profile} needs appendfsync {wanted[0]}, but {where} {has}",
                f"{cli} config set appendonly yes appendfsync {wanted[0]}",
            )
        )
    if server.eviction != "noeviction":
        found.append(
            Shortfall(
                f"{where} drops messages and audit when its memory is full "
                f"(maxmemory-policy {server.eviction})",
                f"{cli} config set maxmemory-policy noeviction",
                "eviction",
            )
        )
    if replicas_of(profile) > server.replicas:
        found.append(
            Shortfall(
                f"the profile {profile} needs a replica, and {where} has none that is up to date",
                "mas up --profile durable",
            )
        )
    if replicas_of(profile) and not server.needs_replicas:
        found.append(
            Shortfall(
                f"the profile {profile} needs min-replicas-to-write 1, "
                f"so that {where} takes no writes after it was cut off from its replicas",
                f"{cli} config set min-replicas-to-write 1",
            )
        )
    return found


def _facts(place: str, info: Mapping[str, str], sync: Any) -> ServerFacts:
    append_only = "off"
    if info.get("aof_enabled") == "1":
        append_only = sync[1].decode() if isinstance(sync, list) and len(sync) == 2 else "unknown"
    compatible = tuple(int(part) for part in re.findall(r"\d+", info.get("redis_version", ""))[:2])
    return ServerFacts(
        place,
        "valkey" if "valkey_version" in info else "redis",
        info.get("valkey_version") or info.get("redis_version", ""),
        compatible,
        append_only,
        info.get("maxmemory_policy", "unknown"),
        sum(1 for name, value in info.items() if re.fullmatch(r"slave\d+", name) and _ONLINE.search(value)),
        "min_slaves_good_slaves" in info,
        int(info.get("used_memory", "0")),
        int(info.get("maxmemory", "0")),
        info.get("aof_last_write_status", "ok") == "ok",
        all(info.get(f"{name}_status", "ok") == "ok" for name in ("aof_last_bgrewrite", "rdb_last_bgsave")),
    )


def _lines(info: Any) -> dict[str, str]:
    text = info.decode(errors="replace") if isinstance(info, bytes) else ""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
