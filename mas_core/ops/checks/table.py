"""The table of checks, and what runs them: `mas doctor` all, `mas check` those that are named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches

from mas_core.errors import NotFound, UsageError
from mas_core.ops.checks import of_machine, of_secrets, of_server, of_work
from mas_core.ops.checks.finding import Bounds, Check, Finding, Result
from mas_core.ops.checks.look import Look
from mas_core.ops.health.report import HealthStatus
from mas_core.ops.health.server_findings import MEMORY_RED, MEMORY_WARN

CHECKS: tuple[Check, ...] = (
    Check("files", "keys, tokens and all of .mas/ are yours alone", "machine", of_machine.files),
    Check(
        "secrets", "what settings, keys, tokens and specs refer to is there", "machine", of_secrets.secrets
    ),
    Check("specs", "mas.yaml, the policy and the specs are valid", "machine", of_machine.specs),
    Check("certificates", "they last, and their keys are yours alone", "machine", of_machine.certificates),
    Check("contexts", "contexts can be read, and lead somewhere", "machine", of_machine.contexts),
    Check("completion", "TAB completes mas in your shell", "machine", of_machine.completion),
    Check(
        "server",
        "it answers soon, and is new enough",
        "server",
        of_server.server,
        of_server.round_trip,
        "s",
        Bounds(0.1, 1),
    ),
    Check("persistence", "it keeps what the profile promises", "server", of_server.persistence),
    Check("eviction", "it drops nothing when it is full", "server", of_server.eviction),
    Check(
        "memory",
        "share of its memory that is used",
        "server",
        of_server.memory,
        of_server.memory_share,
        "%",
        Bounds(100 * MEMORY_WARN, 100 * MEMORY_RED),
    ),
    Check(
        "clock",
        "its clock and ours agree",
        "server",
        of_server.clock,
        of_server.clock_skew,
        "s",
        Bounds(0.5, 5),
    ),
    Check(
        "users", "users of the server have passwords and no more rights than due", "server", of_server.users
    ),
    Check(
        "expiry",
        "keys that should expire do",
        "server",
        of_server.expiry,
        of_server.lasting_keys,
        "",
        Bounds(1, 1_000),
    ),
    Check("policy", "the stored policy can be read", "system", of_work.policy),
    Check("gateway", "every partition has one, and moves", "system", of_work.gateway),
    Check("agents", "those that should run do, and settle what they have", "system", of_work.agents),
    Check("runners", "they keep their instances up", "system", of_work.runners),
    Check("agent-server", "agents reach it, and nobody passes it by", "system", of_work.agent_server),
    Check(
        "lag",
        "how long the oldest message has waited",
        "system",
        of_work.lag,
        of_work.lag_seconds,
        "s",
        Bounds(60, 600),
    ),
    Check(
        "backlog",
        "messages that wait for agents",
        "system",
        of_work.backlog,
        of_work.backlog_count,
        "",
        Bounds(1_000, 10_000),
    ),
    Check(
        "dead-letters",
        "messages that were given up",
        "system",
        of_work.dead_letters,
        of_work.dead_letter_count,
        "",
        Bounds(1, 1_000),
    ),
    Check("audit", "records are signed outside of the server in time", "system", of_work.audit),
    Check(
        "tokens",
        "days until the first agent has no valid token",
        "system",
        of_work.tokens,
        of_work.token_days,
        "d",
        Bounds(7, 1, is_floor=True),
    ),
)
"""In the order in which they build on each other."""

ALIASES = {"redis": "server", "gateways": "gateway", "dlq": "dead-letters", "cert": "certificates"}
"""Other words for some of them."""

_ORDER: dict[HealthStatus, int] = {"ok": 0, "warn": 1, "red": 2}


def chosen(names: Sequence[str]) -> tuple[Check, ...]:
    """The checks of these names, in the order of the table; all when there are none.

    Raises:
        NotFound: There is no such check.
    """
    by_name = {check.name: check for check in CHECKS}
    wanted = {ALIASES.get(name, name) for name in names}
    for name in sorted(wanted - by_name.keys()):
        near = get_close_matches(name, [*by_name, *ALIASES], 1)
        raise NotFound(
            f"there is no check {name!r}",
            hint=(*(f"mas check {item}" for item in near), "mas check --list"),
            closest=near,
        )
    return tuple(check for check in CHECKS if not names or check.name in wanted)


def bounded(check: Check, warn: float | None, red: float | None) -> Check:
    """The check with other bounds; those left out stay, unless they would make no sense beside the others.

    Raises:
        UsageError: It measures nothing, or the warning would come after the error.
    """
    if warn is None and red is None:
        return check
    if check.bounds is None:
        named = ", ".join(item.name for item in CHECKS if item.bounds is not None)
        raise UsageError(f"{check.name} measures nothing that has a limit", hint=f"use one of {named}")
    sign = -1 if check.bounds.is_floor else 1
    low = check.bounds.warn if warn is None else warn
    high = check.bounds.red if red is None else red
    if sign * low > sign * high:
        if warn is not None and red is not None:
            than = "higher" if sign < 0 else "lower"
            raise UsageError(f"{check.name}: --warn {warn:g} has to be {than} than --crit {red:g}")
        low = high = warn if red is None and warn is not None else high
    return replace(check, bounds=replace(check.bounds, warn=low, red=high))


def carry_out(checks: Iterable[Check], seen: Look) -> list[Result]:
    """What these checks come to; those whose needs were not reached are left out."""
    results = []
    for check in checks:
        if not seen.has(check.needs):
            continue
        findings = tuple(check.judge(seen, check.bounds))
        status = max((item.status for item in findings), key=_ORDER.__getitem__)
        value = check.measure(seen) if check.measure else None
        results.append(Result(check, status, findings, value, check.bounds))
    return results


def diagnosis(checks: Sequence[Check], seen: Look) -> list[Finding]:
    """All findings; what cannot be looked at is one of them."""
    found = [item for result in carry_out(checks, seen) for item in result.findings]
    missed = [check.name for check in checks if not seen.has(check.needs)]
    if missed and seen.trouble is not None:
        fix = seen.trouble.hint[0] if seen.trouble.hint else "mas config where"
        name = "server" if seen.setup is None else "system"
        rest = ", ".join(item for item in missed if item != name)
        found.append(Finding(name, "red" if name == "server" else "warn", seen.trouble.message, fix))
        if rest:
            found.append(Finding("not checked", "warn", rest, fix))
    return found
