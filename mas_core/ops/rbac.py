"""Access rules: allow, deny, revoke, list, check, explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from mas_core.model.policy import Effect, PolicyDocument, Rule
from mas_core.ops.agents import require_agents
from mas_core.ops.system import System
from mas_core.security import access_explanation
from mas_core.security.access import AccessDecision, AccessPolicy, Action
from mas_core.security.access_explanation import Explanation
from mas_core.security.policy_changes import add_rule, find_rule, remove_rule

__all__ = [
    "AccessDecision",
    "Action",
    "Explanation",
    "add_rules",
    "check",
    "explain",
    "load",
    "revoke",
]


async def add_rules(
    system: System,
    effect: Effect,
    sender: str,
    targets: Sequence[str],
    *,
    message_type: str = "*",
    action: str = "*",
    both: bool = False,
    expires_in: float = 0,
    reason: str = "",
    dry_run: bool = False,
) -> list[Rule]:
    """Add rules; in force everywhere when this returns.

    Args:
        system: The system.
        effect: allow or deny.
        sender: Agent, `role:NAME`, or `*`.
        targets: Agents, roles, or `*`; one rule each.
        message_type: Glob over message types.
        action: send, request, or `*`.
        both: Add the same for the other direction.
        expires_in: Seconds until the rules no longer count; 0 for never.
        reason: Why, in words.
        dry_run: Change nothing and tell what would be added.

    Raises:
        AgentNotFound: A rule names an agent that is not registered.
        UsageError: A rule makes no sense.
    """
    named = [name for name in (sender, *targets) if name != "*" and not name.startswith("role:")]
    await require_agents(system, *named)
    now = await system.store.connection.time_ms()
    pairs = [(sender, target) for target in targets]
    if both:
        pairs += [(target, sender) for target in targets]
    wanted = [
        Rule(
            id="",
            effect=effect,
            sender=one,
            target=other,
            type=message_type,
            action=action,
            expires=now + int(expires_in * 1000) if expires_in else 0,
            reason=reason,
            by=system.actor,
            created=now,
        )
        for one, other in pairs
    ]

    def edit(document: PolicyDocument) -> PolicyDocument:
        for rule in wanted:
            document = add_rule(document, rule)
        return document

    document = await _change(system, edit, now, dry_run=dry_run)
    return [found for rule in wanted if (found := find_rule(document, rule)) is not None]


async def revoke(system: System, rule_ids: Sequence[str], *, dry_run: bool = False) -> list[Rule]:
    """Remove rules by id; in force everywhere when this returns.

    Returns:
        The rules that were removed.

    Raises:
        RuleNotFound: One of them does not exist; nothing is changed.
    """
    before = await load(system)
    wanted = list(dict.fromkeys(rule_ids))

    def edit(document: PolicyDocument) -> PolicyDocument:
        for rule_id in wanted:
            document = remove_rule(document, rule_id)
        return document

    now = await system.store.connection.time_ms()
    await _change(system, edit, now, dry_run=dry_run)
    return [rule for rule in before.rules if rule.id in wanted]


async def load(system: System) -> PolicyDocument:
    """The policy in force; an empty one, which allows nothing, where there is none."""
    return await system.policy.load() or PolicyDocument()


async def check(
    system: System, sender: str, target: str, message_type: str = "message", action: Action = "send"
) -> AccessDecision:
    """Whether a message may go.

    Raises:
        AgentNotFound: One of the agents is not registered.
    """
    await require_agents(system, sender, target)
    now = await system.store.connection.time_ms()
    return AccessPolicy(await load(system)).decide(sender, target, message_type, action, now)


async def explain(
    system: System, sender: str, target: str, message_type: str = "message", action: Action = "send"
) -> Explanation:
    """Why a message may go or not, which rules come close, and what would change it.

    Raises:
        AgentNotFound: One of the agents is not registered.
    """
    await require_agents(system, sender, target)
    now = await system.store.connection.time_ms()
    policy = AccessPolicy(await load(system))
    return access_explanation.explain(policy, sender, target, message_type, action, now)


async def _change(
    system: System, edit: Callable[[PolicyDocument], PolicyDocument], now: int, *, dry_run: bool
) -> PolicyDocument:
    if dry_run:
        return edit(await load(system))

    def signed_edit(document: PolicyDocument) -> PolicyDocument:
        changed = edit(document)
        if changed is document:
            return document
        return msgspec.structs.replace(changed, changed_by=system.actor, changed_at=now)

    return await system.policy.change(signed_edit)
