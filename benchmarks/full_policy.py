"""The policy that everything is measured under: every stage on, 200 agents, 1,000 rules."""

from __future__ import annotations

import msgspec

from mas_core.model.policy import Features, PolicyDocument, RateLimit, Rule
from mas_core.ops.bench.cast import UNLIMITED

AGENTS = 200
RULES = 1_000
SIGNING = "message_signing"
"""The one switch that stays off unless its cost is measured."""
_TYPES = ("task.*", "invoice.create", "report.?.done", "*", "billing.*")


def agent_names() -> list[str]:
    """The ids of the agents that the rules speak of."""
    return [f"agent-{number:03d}" for number in range(AGENTS)]


def full_policy(
    document: PolicyDocument, routes: list[tuple[str, str]], *, signing: bool = False
) -> PolicyDocument:
    """The document with all that this module is for.

    Args:
        document: The policy so far.
        routes: Who has to be able to send to whom.
        signing: Whether messages are signed.
    """
    names = agent_names()
    roles = {f"team-{number}": tuple(names[number::5]) for number in range(5)}
    rules = [Rule("", "allow", sender, target, type="bench.*") for sender, target in routes]
    number = 0
    while len(rules) < max(RULES, len(routes) + 10):
        sender, target = names[number % AGENTS], names[(number * 7 + 3) % AGENTS]
        if number % 50 == 0:
            sender = f"role:team-{number // 50 % 5}"
        effect = "deny" if number % 10 == 9 else "allow"
        types = _TYPES[number % 5] if effect == "allow" else "secret.*"
        rules.append(Rule("", effect, sender, target, type=types))
        number += 1
    numbered = tuple(msgspec.structs.replace(rule, id=f"r{index}") for index, rule in enumerate(rules, 1))
    limits: dict[str, RateLimit] = dict.fromkeys(
        [*names, *(name for route in routes for name in route)], UNLIMITED
    )
    return msgspec.structs.replace(
        document,
        rules=numbered,
        last_rule=len(numbered),
        roles=roles,
        limits=limits,
        features=all_features(signing=signing),
    )


def all_features(*, signing: bool = False) -> Features:
    """Every switch on; signatures only when asked for."""
    switches = {field: True for field in Features.__struct_fields__ if field != SIGNING}
    if signing:
        switches[SIGNING] = True
    return Features(**switches)


def can_sign() -> bool:
    """Whether this build has message signatures."""
    return SIGNING in Features.__struct_fields__
