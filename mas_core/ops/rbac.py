"""Access rules: allow, deny, revoke, list, check, explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mas_core.base.ids import check_message_type
from mas_core.base.resources import action_of, check_target, is_resource
from mas_core.errors import UsageError
from mas_core.model.policy import ANYONE, Effect, PolicyDocument, Rule
from mas_core.ops.agents import require_agents
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.security import access_explanation, policy_changes
from mas_core.security.access import AccessDecision, AccessPolicy, CompiledRule, actions_on
from mas_core.security.access_explanation import Explanation
from mas_core.security.type_glob import glob_covers

__all__ = [
    "AccessDecision",
    "Explanation",
    "actions_on",
    "add_network",
    "add_pairs",
    "add_rules",
    "change_rules",
    "check",
    "default_action",
    "explain",
    "load",
    "revoke",
    "rules_for",
    "with_changes",
]

MIN_NETWORK = 2


@named("rule.{effect}", "sender")
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
    pairs = [(sender, target) for target in targets]
    if both:
        pairs += [(target, sender) for target in targets]
    return await add_pairs(
        system,
        effect,
        pairs,
        message_type=message_type,
        action=action,
        expires_in=expires_in,
        reason=reason,
        dry_run=dry_run,
    )


@named("rule.allow", "agents")
async def add_network(
    system: System,
    agents: Sequence[str],
    *,
    message_type: str = "*",
    action: str = "*",
    expires_in: float = 0,
    reason: str = "",
    dry_run: bool = False,
) -> list[Rule]:
    """Let each of these send to each other one; arguments as for `add_rules`.

    Raises:
        AgentNotFound: One of them is not registered.
        UsageError: There are fewer than two.
    """
    names = list(dict.fromkeys(agents))
    if len(names) < MIN_NETWORK:
        raise UsageError("a network has at least two agents", hint="mas rbac network A B C")
    pairs = [(one, other) for one in names for other in names if one != other]
    return await add_pairs(
        system,
        "allow",
        pairs,
        message_type=message_type,
        action=action,
        expires_in=expires_in,
        reason=reason,
        dry_run=dry_run,
    )


@named("rule.{effect}")
async def add_pairs(
    system: System,
    effect: Effect,
    pairs: Sequence[tuple[str, str]],
    *,
    message_type: str = "*",
    action: str = "*",
    expires_in: float = 0,
    reason: str = "",
    dry_run: bool = False,
) -> list[Rule]:
    """Add one rule for each pair of sender and target; the rest as for `add_rules`.

    Raises:
        AgentNotFound: A rule names an agent that is not registered.
        UsageError: A rule makes no sense.
    """
    names = dict.fromkeys(name for pair in pairs for name in pair)
    agents = [
        name for name in names if name != ANYONE and not name.startswith("role:") and not is_resource(name)
    ]
    await require_agents(system, *agents)
    now = await system.store.connection.time_ms()
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

    document = await _change(
        system, lambda document: policy_changes.add_rules(document, wanted), dry_run=dry_run
    )
    return policy_changes.find_rules(document, wanted)


@named("rule.change")
async def change_rules(
    system: System,
    *,
    add: Sequence[tuple[Effect, str, str, str]] = (),
    remove: Sequence[str] = (),
    reason: str = "",
) -> list[Rule]:
    """Add and remove rules in one change of the policy: all or none; in force when this returns.

    Args:
        system: The system.
        add: Effect, sender, target and a glob of message types, each.
        remove: Ids of rules.
        reason: Why, in words.

    Returns:
        The rules that were added, or were there already.

    Raises:
        AgentNotFound: A rule names an agent that is not registered.
        RuleNotFound: One that is to go does not exist; nothing is changed.
        UsageError: A rule makes no sense.
    """
    names = dict.fromkeys(name for _, sender, target, _ in add for name in (sender, target))
    await require_agents(system, *(name for name in names if name != ANYONE and not name.startswith("role:")))
    now = await system.store.connection.time_ms()
    wanted = [
        Rule(id="", effect=effect, sender=sender, target=target, type=message_type,
             reason=reason, by=system.actor, created=now)
        for effect, sender, target, message_type in add
    ]  # fmt: skip

    def edit(document: PolicyDocument) -> PolicyDocument:
        return policy_changes.edit_rules(document, wanted, remove)

    return policy_changes.find_rules(await system.policy.change(edit), wanted)


@named("rule.remove", "rule_ids")
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
            document = policy_changes.remove_rule(document, rule_id)
        return document

    await _change(system, edit, dry_run=dry_run)
    return [rule for rule in before.rules if rule.id in wanted]


async def load(system: System) -> PolicyDocument:
    """The policy in force; an empty one, which allows nothing, where there is none."""
    return await system.policy.load() or PolicyDocument()


async def check(
    system: System, sender: str, target: str, message_type: str = "message", action: str = ""
) -> AccessDecision:
    """Whether a message may go.

    Args:
        system: The system.
        sender: Id of an agent.
        target: Id of an agent, or a resource such as `topic:orders.created`.
        message_type: Its type.
        action: What a rule has to permit; empty for what a message of this type does to a resource, and for
            `send` where the target is an agent.

    Raises:
        AgentNotFound: One of the agents is not registered.
        InvalidIdentifier: An id or the type cannot be one.
    """
    check_message_type(message_type)
    await _require_parties(system, sender, target)
    action = action or default_action(target, message_type)
    now = await system.store.connection.time_ms()
    return AccessPolicy(await load(system)).decide(sender, target, message_type, action, now)


async def explain(
    system: System, sender: str, target: str, message_type: str = "message", action: str = ""
) -> Explanation:
    """Why a message may go or not, which rules come close, and what would change it.

    Raises:
        AgentNotFound: One of the agents is not registered.
        InvalidIdentifier: An id or the type cannot be one.
    """
    check_message_type(message_type)
    await _require_parties(system, sender, target)
    action = action or default_action(target, message_type)
    now = await system.store.connection.time_ms()
    policy = AccessPolicy(await load(system))
    return access_explanation.explain(policy, sender, target, message_type, action, now)


def default_action(target: str, message_type: str) -> str:
    """What a message of this type does to a resource; `send` where the target is an agent."""
    return action_of(target, message_type, expects_reply=False)


async def _require_parties(system: System, sender: str, target: str) -> None:
    """Make sure that both are known; of a resource only its name can be right or wrong."""
    if is_resource(target):
        check_target(target)
        await require_agents(system, sender)
    else:
        await require_agents(system, sender, target)


def with_changes(
    document: PolicyDocument, add: Sequence[tuple[Effect, str, str, str]], remove: Sequence[str]
) -> PolicyDocument:
    """The policy as `change_rules` would leave it.

    Raises:
        RuleNotFound: One that is to go does not exist.
        UsageError: A rule makes no sense.
    """
    wanted = [
        Rule(id="", effect=effect, sender=sender, target=target, type=message_type)
        for effect, sender, target, message_type in add
    ]
    return policy_changes.edit_rules(document, wanted, remove)


def rules_for(document: PolicyDocument, agent_id: str = "", *, effective_at: int = 0) -> list[Rule]:
    """The rules of a policy, what trust and blocks stand for included.

    Args:
        document: The policy.
        agent_id: Only those that count for this agent, by name, by role or as one of all.
        effective_at: Unix milliseconds: only those that count at this time and that no stronger rule for the
            same or for everybody takes back as a whole; 0 for all.
    """
    policy = AccessPolicy(document)
    names = policy.names_of(agent_id) if agent_id else ()
    found = [
        compiled
        for compiled in policy.rules
        if not agent_id or compiled.rule.sender in names or compiled.rule.target in names
    ]
    if effective_at:
        live = [compiled for compiled in policy.rules if compiled.is_live(effective_at)]
        found = [
            compiled
            for compiled in found
            if compiled in live
            and any(
                not any(_overrules(policy, other, compiled, *pair) for other in live)
                for pair in _pairs_of(compiled.rule, agent_id, names)
            )
        ]
    return [compiled.rule for compiled in found]


def _pairs_of(rule: Rule, agent_id: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Sender and target of a rule, as far as it concerns the agent."""
    if not agent_id:
        return [(rule.sender, rule.target)]
    as_sender = [(agent_id, rule.target)] if rule.sender in names else []
    return as_sender + ([(rule.sender, agent_id)] if rule.target in names else [])


def _overrules(
    policy: AccessPolicy, stronger: CompiledRule, weaker: CompiledRule, sender: str, target: str
) -> bool:
    """Whether nothing is left of the weaker rule between these; only when one rule alone takes all back."""
    one, other = stronger.rule, weaker.rule
    return (
        stronger.strength > weaker.strength
        and one.sender in policy.names_of(sender)
        and one.target in policy.target_names(target)
        and one.action in (ANYONE, other.action)
        and glob_covers(one.type, other.type)
    )


async def _change(
    system: System, edit: Callable[[PolicyDocument], PolicyDocument], *, dry_run: bool
) -> PolicyDocument:
    return edit(await load(system)) if dry_run else await system.policy.change(edit)
