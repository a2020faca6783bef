"""Checks of the server: version, what it keeps, memory, clock, users, keys that stay."""

from __future__ import annotations

from collections.abc import Iterator

from mas_core.ops.checks.finding import Bounds, Finding
from mas_core.ops.checks.look import Look
from mas_core.ops.health.server_findings import server_items
from mas_core.store.profiles import ServerFacts, shortfalls
from mas_core.store.server_setup import ServerSetup, ServerUser
from mas_core.store.user_admin import DEFAULT


def round_trip(look: Look) -> float:
    """Seconds that the server took to answer."""
    return _setup(look).round_trip_s


def server(look: Look, bounds: Bounds | None) -> Iterator[Finding]:
    """It answers soon, and has the commands that are needed."""
    took = round_trip(look)
    status = bounds.judge(took) if bounds else "ok"
    shown = ", ".join(dict.fromkeys(f"{item.program} {item.version}" for item in _servers(look)))
    text = f"{shown} answers in {took * 1000:.1f} ms"
    yield Finding("server", status, text, "" if status == "ok" else "redis-cli --latency")
    yield from _short(look, "server", "version")


def persistence(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """It keeps what the profile promises, and could write its files."""
    yield from _short(look, "persistence", "persistence")
    yield from _of_health(look, "disk")
    if not [item for item in shortfalls(look.expected.profile, _servers(look)) if item.kind == "persistence"]:
        kept = ", ".join(dict.fromkeys(item.append_only for item in _servers(look)))
        yield Finding(
            "persistence", "ok", f"appendfsync {kept} is enough for the profile {look.expected.profile}"
        )


def eviction(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """It refuses writes when its memory is full, and drops nothing."""
    short = list(_short(look, "eviction", "eviction"))
    yield from short or [Finding("eviction", "ok", "noeviction: a full server refuses, and drops nothing")]


def memory_share(look: Look) -> float:
    """Percent of its limit that the fullest server uses; 0 without a limit."""
    shares = [item.memory_bytes / item.memory_limit for item in _servers(look) if item.memory_limit]
    return 100 * max(shares, default=0.0)


def memory(look: Look, bounds: Bounds | None) -> Iterator[Finding]:
    """It is not about to be full."""
    share = memory_share(look)
    status = bounds.judge(share) if bounds else "ok"
    used = sum(item.memory_bytes for item in _servers(look)) / 1e6
    limited = any(item.memory_limit for item in _servers(look))
    of = f", {share:.0f} % of its limit" if limited else ", without a limit"
    yield Finding("memory", status, f"{used:.1f} MB{of}", "" if status == "ok" else "redis-cli info memory")


def clock_skew(look: Look) -> float:
    """Seconds between its clock and ours."""
    return abs(_setup(look).clock_ahead_s)


def clock(look: Look, bounds: Bounds | None) -> Iterator[Finding]:
    """Its clock and ours agree."""
    setup = _setup(look)
    status = bounds.judge(clock_skew(look)) if bounds else "ok"
    if status == "ok":
        yield Finding("clock", "ok", f"the server's and ours are {clock_skew(look) * 1000:.0f} ms apart")
        return
    which = "ahead of" if setup.clock_ahead_s > 0 else "behind"
    yield Finding(
        "clock",
        status,
        f"the server's clock is {clock_skew(look):.1f} s {which} ours; expiries count by the server's",
        "timedatectl status",
    )


def users(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """Nobody gets in without a password, and agents can write neither inboxes nor audit."""
    setup = _setup(look)
    if setup.users is None:
        yield Finding("users", "ok", "the server does not tell us its users")
        return
    troubled = False
    for user in setup.users:
        if not user.needs_password:
            troubled = True
            fix = "mas redis-users apply --default off" if user.name == "default" else ""
            yield Finding(
                "users",
                "red",
                f"the user {user.name} of the server needs no password"
                + (", and may write inboxes and the audit" if user.can_write else ""),
                fix or f"redis-cli acl setuser {user.name} resetpass off",
            )
        elif user.can_write and user.name != setup.me and not user.is_trusted:
            troubled = True
            yield Finding(
                "users",
                "red",
                f"the user {user.name} of the server may write inboxes and the audit"
                + ("" if user.is_agent else ", which only gateways should"),
                _narrowing(user),
            )
    if not troubled:
        count = "1 user" if len(setup.users) == 1 else f"{len(setup.users)} users"
        yield Finding("users", "ok", f"{count}, all with a password")


def _narrowing(user: ServerUser) -> str:
    if user.name == DEFAULT:
        return "mas redis-users apply --default off"
    if user.is_agent:
        return f"redis-cli acl setuser {user.name} resetkeys -@all"
    return f"redis-cli acl getuser {user.name}"


def lasting_keys(look: Look) -> float:
    """Keys that should expire and do not."""
    return _setup(look).lasting_count


def expiry(look: Look, bounds: Bounds | None) -> Iterator[Finding]:
    """What is meant to expire does."""
    setup = _setup(look)
    status = bounds.judge(lasting_keys(look)) if bounds else "ok"
    if status == "ok":
        yield Finding("expiry", "ok", f"every key that should expire does ({setup.scanned} looked at)")
        return
    first = setup.lasting[0]
    others = f" and {setup.lasting_count - 1} more" if setup.lasting_count > 1 else ""
    yield Finding(
        "expiry",
        status,
        f"{first}{others} should expire and does not: something else wrote it",
        f"redis-cli expire '{first}' 86400",
    )


def _short(look: Look, check: str, kind: str) -> Iterator[Finding]:
    for item in shortfalls(look.expected.profile, _servers(look)):
        if item.kind == kind:
            yield Finding(check, "red", item.message, item.fix)


def _of_health(look: Look, name: str) -> Iterator[Finding]:
    if look.seen is None:
        return
    for item in server_items(look.seen, look.expected):
        if item.name == name:
            yield Finding("persistence", item.status, item.reason, item.fix)


def _servers(look: Look) -> tuple[ServerFacts, ...]:
    return look.servers or ()


def _setup(look: Look) -> ServerSetup:
    assert look.setup is not None  # noqa: S101 - the table says that these checks need it
    return look.setup
