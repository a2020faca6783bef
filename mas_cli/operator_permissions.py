"""What each command takes: the one table that roles are checked by.

A name counts for the command or for all commands that begin with it; the longest one decides. A command that is
not named is for the owner alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mas_cli.command_entry import Command
from mas_core.model.operators import Permission

_NEEDED: Final[Mapping[Permission, tuple[str, ...]]] = {
    "see": (
        *(
            "status",
            "metrics",
            "check",
            "health",
            "gateway status",
            "server status",
            "partitions list",
            "tui",
            "discover",
        ),
        *(
            "agent list",
            "agent describe",
            "redis-users list",
            "bus status",
            "bus inspect",
            "dlq list",
            "dlq stats",
        ),
        *("schedule list", "schedule get", "approval list", "approval get", "breaker list"),
        *(
            "limit list",
            "limit get",
            "key list",
            "route list",
            "route test",
            "policy features",
            "policy test",
        ),
        *("rbac list", "rbac check", "rbac explain", "rbac export", "rbac diff", "rbac history"),
        *("rbac role list", "rbac capability list", "redis-users list", "cert list"),
    ),
    "follow": ("watch", "record", "trace"),
    "open": (
        *("dlq get", "audit payload", "state list", "state get", "state diff"),
        *("topic list", "topic subscribe", "leader status", "leader watch"),
        *("task list", "task get", "task watch", "task stats"),
        *("consensus status", "consensus list", "consensus verify", "consensus export"),
    ),
    "operate": (
        *("gateway drain", "gateway resume", "agent run", "agent pause", "agent resume", "agent drain"),
        *("agent quarantine", "agent evict", "send", "request", "reply", "topic publish"),
        *("approval approve", "approval reject", "limit reset", "breaker reset", "breaker open"),
        *("state set", "state patch", "state reset", "bus claim", "bus trim", "bus replay"),
        *("schedule cancel", "dlq retry", "dlq drop", "dlq restore", "leader resign"),
        *("task assign", "task cancel", "task retry"),
        *("consensus open", "consensus vote", "consensus close", "event emit", "event replay"),
    ),
    "secure": (
        *(
            "agent register",
            "agent deregister",
            "agent provision",
            "agent token",
            "agent trust",
            "agent untrust",
        ),
        *("agent block", "agent unblock", "rbac", "policy", "route", "limit set", "key", "cert"),
        *("server token",),
        *("audit erase", "audit archive", "audit retention set", "agent provision"),
    ),
    "evidence": (
        *(
            "audit list",
            "audit tail",
            "audit get",
            "audit export",
            "audit verify",
            "audit prove",
            "audit count",
        ),
        *("audit retention list", "audit check-signature", "audit fingerprint", "audit report"),
        *("audit notary status", "audit key show", "operator list"),
    ),
    "own": (
        *("up", "down", "gateway run", "server", "partitions set", "bench", "event record"),
        *("audit notary run", "audit key rotate", "audit resume", "backup", "operator", "redis-users"),
    ),
}

_BY_NAME: Final[Mapping[str, Permission]] = {
    name: permission for permission, names in _NEEDED.items() for name in names
}


def row_of(command: Command) -> str:
    """The name in the table that decides about a command; empty if none does."""
    words = command.name.split()
    beginnings = (" ".join(words[:length]) for length in range(len(words), 0, -1))
    return next((name for name in beginnings if name in _BY_NAME), "")


def permission_of(command: Command) -> Permission | None:
    """What a command takes; None for one that touches nothing but files of this machine."""
    if command.scope == "local":
        return None
    return _BY_NAME.get(row_of(command), "own")
