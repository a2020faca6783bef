"""Checks of what runs: gateways, agents, runners, evidence, what waits, tokens that end."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from mas_core.ops.checks.finding import Bounds, Finding
from mas_core.ops.checks.look import Look
from mas_core.ops.health.observation import Observation
from mas_core.ops.health.report import HealthItem

_DAY_MS = 86_400_000


def gateway(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """Every partition has a gateway, and moves."""
    yield from _health(look, "gateway", "partition", "gateway", "gateways")


def agents(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """Agents that should run do, and settle what they have."""
    yield from _health(look, "agents", "agent", "agents")


def runners(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """Runners keep their instances up."""
    yield from _health(look, "runners", "runner", nothing="none runs")


def agent_server(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """Agents that go through a server reach it, and nobody passes it by."""
    yield from _health(look, "agent-server", "server", "servers", nothing="none is wanted: agents go direct")
    open_users = [user.name for user in (look.setup and look.setup.users) or () if not user.needs_password]
    remote = [item.address for item in _seen(look).agent_servers if not _is_here(item.address)]
    if remote and open_users:
        yield Finding(
            "agent-server",
            "red",
            f"agents of other machines come to {remote[0]}, and the user {open_users[0]} of the Redis server needs "
            "no password: whoever reaches that passes the server by",
            f"redis-cli acl setuser {open_users[0]} resetpass off",
        )


def _is_here(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def audit(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """What is recorded is signed outside of the server in time."""
    wanted = look.expected.wants_notary
    nothing = "no notary is about to sign yet" if wanted else "no notary is wanted: nothing is signed outside"
    yield from _health(look, "audit", "notary", "notaries", "audit", nothing=nothing)


def policy(look: Look, _: Bounds | None) -> Iterator[Finding]:
    """The stored policy is the one that was written."""
    yield from _health(look, "policy", "policy", nothing="can be read, and nobody else wrote it")


def backlog_count(look: Look) -> float:
    """Messages that are delivered and not settled."""
    return sum(item.progress.backlog for item in _seen(look).agents)


def backlog(look: Look, bounds: Bounds | None) -> Iterator[Finding]:
    """Not too much waits for agents."""
    count = int(backlog_count(look))
    status = bounds.judge(count) if bounds else "ok"
    busiest = max(_seen(look).agents, key=lambda item: item.progress.backlog, default=None)
    text, fix = f"{count} messages wait for agents", ""
    if busiest is not None and busiest.progress.backlog:
        text += f", {busiest.progress.backlog} of them for {busiest.progress.agent_id}"
        fix = f"mas agent describe {busiest.progress.agent_id}"
    yield Finding("backlog", status, text, "" if status == "ok" else fix)


def lag_seconds(look: Look) -> float:
    """How long the oldest waits of what waits for a gateway or an agent."""
    seen = _seen(look)
    oldest = [item.oldest for item in seen.partitions if item.waiting and item.oldest]
    oldest += [item.progress.oldest for item in seen.agents if item.progress.backlog and item.progress.oldest]
    return max(0.0, (seen.now - min(oldest)) / 1000) if oldest else 0.0


def lag(look: Look, bounds: Bounds | None) -> Iterator[Finding]:
    """Nothing waits for too long."""
    seconds = lag_seconds(look)
    status = bounds.judge(seconds) if bounds else "ok"
    text = f"the oldest message has waited for {seconds:.1f} s" if seconds else "nothing waits"
    yield Finding("lag", status, text, "" if status == "ok" else "mas health")


def dead_letter_count(look: Look) -> float:
    """Dead letters that nobody has decided about."""
    return look.dead_letters


def dead_letters(look: Look, bounds: Bounds | None) -> Iterator[Finding]:
    """No messages were given up."""
    count = look.dead_letters
    status = bounds.judge(count) if bounds else "ok"
    text = "none" if not count else "1 message was given up" if count == 1 else f"{count} were given up"
    yield Finding("dead-letters", status, text, "" if status == "ok" else "mas dlq list")


def token_days(look: Look) -> float | None:
    """Days until the first agent has no valid token any more; None where none ends."""
    if not look.token_expiries:
        return None
    return max(0.0, (look.token_expiries[0][0] - _seen(look).now) / _DAY_MS)


def tokens(look: Look, bounds: Bounds | None) -> Iterator[Finding]:
    """No agent is about to lose its last token."""
    days = token_days(look)
    if days is None:
        yield Finding("tokens", "ok", "none ends by itself")
        return
    agent_id = look.token_expiries[0][1]
    status = bounds.judge(days) if bounds else "ok"
    text = f"the token of {agent_id} is the first to end, in {days:.1f} days"
    yield Finding("tokens", status, text, "" if status == "ok" else f"mas agent token rotate {agent_id}")


def _health(look: Look, check: str, *names: str, nothing: str = "nothing to say") -> Iterator[Finding]:
    """What the health of the system says under these names; what is well in one line."""
    items = [item for item in look.health.items if item.name.split()[0] in names] if look.health else []
    well = [item for item in items if item.status == "ok"]
    for item in items:
        if item.status != "ok":
            yield Finding(check, item.status, f"{item.name}: {item.reason}", item.fix)
    if len(well) == len(items):
        yield Finding(check, "ok", _well(well) if well else nothing)


def _well(items: list[HealthItem]) -> str:
    first = f"{items[0].name}: {items[0].reason}" if " " in items[0].name else items[0].reason
    return first if len(items) == 1 else f"{first}; and {len(items) - 1} more are well"


def _seen(look: Look) -> Observation:
    assert look.seen is not None  # noqa: S101 - the table says that these checks need it
    return look.seen
