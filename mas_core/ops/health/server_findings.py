"""Judges what the servers say of themselves: memory, disk, and whether they keep what the profile promises."""

from __future__ import annotations

from collections.abc import Iterator

from mas_core.ops.health.observation import Expectations, Observation
from mas_core.ops.health.report import HealthItem
from mas_core.store.profiles import ServerFacts, shortfalls

MEMORY_WARN = 0.8
MEMORY_RED = 0.95


def server_items(seen: Observation, expected: Expectations) -> Iterator[HealthItem]:
    """What is to be said about the store and the policy in it."""
    size = sum(server.memory_bytes for server in seen.servers) / 1e6
    yield HealthItem("store", "ok", f"answers, {size:.1f} MB")
    if seen.policy_problem:
        yield HealthItem("policy", "red", seen.policy_problem, "mas rbac history")
    for server in seen.servers:
        yield from _server(server)
    missed = shortfalls(expected.profile, seen.servers)
    for found in missed:
        yield HealthItem("profile", "red", found.message, found.fix)
    if not missed:
        yield HealthItem("profile", "ok", f"the server keeps what {expected.profile} promises")


def _server(server: ServerFacts) -> Iterator[HealthItem]:
    where = f"the server at {server.place}" if server.place else "the server"
    share = server.memory_bytes / server.memory_limit if server.memory_limit else 0
    if share >= MEMORY_WARN:
        yield HealthItem(
            "memory",
            "red" if share >= MEMORY_RED else "warn",
            f"{where} uses {share:.0%} of its limit; when it is full, messages are refused",
            "mas status",
        )
    if not server.takes_writes:
        yield HealthItem(
            "disk", "red", f"{where} could not write its append-only file, and takes no writes", "df -h"
        )
    if not server.saves:
        yield HealthItem("disk", "warn", f"{where} could not write a snapshot, or its file anew", "df -h")
