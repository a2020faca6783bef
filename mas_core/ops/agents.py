"""Agents: register them, give and take their tokens, look at them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mas_core.base.ids import check_agent_id, check_capability
from mas_core.errors import (
    AgentNotFound,
    AlreadyRegistered,
    IntegrityError,
    KeyNotFound,
    SecretUnavailable,
    TokenInvalid,
)
from mas_core.model.policy import PolicyDocument, RateLimit, Rule
from mas_core.model.registration import AgentKey, Registration
from mas_core.model.standing import Standing
from mas_core.ops.scaling import AgentScaling, agent_scaling
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.registry.registry import AgentEntry
from mas_core.security.rate_limits import RateLimits
from mas_core.security.tokens import agent_key, derive_keys, new_token
from mas_core.settings.certificate_paths import certificates_dir, issued_dir
from mas_core.settings.private_files import check_token_place, write_token
from mas_core.settings.server_logins import agent_login_path

DEFAULT_OVERLAP_S = 3600.0
"""How long the old token counts after a rotation, in seconds."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that was made: in `path`, or shown once in `token` when there is no folder for it."""

    agent_id: str
    key_id: str
    expires: int
    """Unix milliseconds; 0 for never."""
    path: Path | None
    token: str


@dataclass(frozen=True, slots=True)
class AgentSummary:
    """One line about an agent."""

    id: str
    status: str
    """running, stopped or draining; or what an operator said: paused, draining, quarantined, evicted."""
    capabilities: tuple[str, ...]
    instances: int
    load: int
    """Messages that its instances are handling, by their last heartbeat."""
    backlog: int
    """Messages delivered and not settled."""
    last_seen: int
    """Unix milliseconds of the last heartbeat; 0 for never."""
    metadata: dict[str, object]
    standing: Standing | None = None
    """What an operator said about it."""
    scaling: tuple[AgentScaling, ...] = ()
    """Of each runner that decides itself how many instances it has."""


@dataclass(frozen=True, slots=True)
class AgentDescription:
    """Everything about an agent."""

    summary: AgentSummary
    registration: Registration
    entry: AgentEntry
    partition: int
    limit: RateLimit
    rules_from: tuple[Rule, ...]
    """Rules that name it, one of its roles or everybody as sender."""
    rules_to: tuple[Rule, ...]
    state_revision: int
    """0 also where the role of the operator does not show states."""


@named("agent.register", "agent_id")
async def register(
    system: System,
    agent_id: str,
    *,
    capabilities: Sequence[str] | None = None,
    expires_in: float = 0,
    show: bool = False,
    source: str = "cli",
) -> IssuedToken:
    """Register an agent and make its token.

    Args:
        system: The system.
        agent_id: Id of the new agent.
        capabilities: What it may claim to be able to do; None leaves it to the agent.
        expires_in: Seconds until the token expires; 0 for never.
        show: Give the token back instead of writing it to the folder of tokens.
        source: Where the registration comes from: `cli`, `api`, or `file:<spec>`.

    Raises:
        AlreadyRegistered: There is an agent of this name.
        InvalidIdentifier: The id or a capability cannot be one.
    """
    check_agent_id(agent_id)
    permitted = None if capabilities is None else tuple(check_capability(item) for item in capabilities)
    if await system.registry.entries([agent_id]):
        raise AlreadyRegistered(
            f"{agent_id} is registered already",
            hint=(f"mas agent describe {agent_id}", f"mas agent token rotate {agent_id}"),
        )
    now = await system.store.connection.time_ms()
    key, token = _new_key(system, agent_id, now, expires_in)
    await system.store.agent(agent_id).create_inboxes()
    issued = _hand_over(system, agent_id, key, token, show=show)
    await system.registry.put(Registration(agent_id, (key,), permitted, created=now, source=source))
    return issued


@named("agent.register", "agent_ids")
async def register_many(
    system: System,
    agent_ids: Sequence[str],
    *,
    capabilities: Sequence[str] | None = None,
    source: str = "api",
) -> dict[str, str]:
    """Register many agents with one change of the registry.

    Args:
        system: The system.
        agent_ids: Ids of the new agents.
        capabilities: What each may claim to be able to do; None leaves it to them.
        source: Where the registrations come from.

    Returns:
        Their tokens, which are kept nowhere else.

    Raises:
        AlreadyRegistered: There is an agent of one of these names; none is registered then.
        InvalidIdentifier: An id or a capability cannot be one.
    """
    for agent_id in agent_ids:
        check_agent_id(agent_id)
    permitted = None if capabilities is None else tuple(check_capability(item) for item in capabilities)
    existing = await system.registry.entries(agent_ids)
    if existing:
        raise AlreadyRegistered(
            f"{existing[0].agent_id} is registered already",
            hint=f"mas agent describe {existing[0].agent_id}",
        )
    now = await system.store.connection.time_ms()
    tokens: dict[str, str] = {}
    registrations: list[Registration] = []
    for agent_id in agent_ids:
        key, tokens[agent_id] = _new_key(system, agent_id, now, 0)
        registrations.append(Registration(agent_id, (key,), permitted, created=now, source=source))
    await system.registry.put_many(registrations)
    return tokens


@named("agent.deregister", "agent_ids")
async def deregister_many(system: System, agent_ids: Sequence[str]) -> None:
    """Remove agents with one change of the registry; those that are not registered are passed over."""
    await system.registry.delete_many(agent_ids)


async def ensure_registered(system: System, agent_id: str, *, source: str) -> bool:
    """Register an agent unless it is registered and its token is at hand; whether anything was done."""
    entries = await system.registry.entries([agent_id])
    if not entries:
        await register(system, agent_id, source=source)
        return True
    policy = await system.policy.load()
    if policy is not None and policy.standing_of(agent_id) == "evicted":
        # A new token would be what the eviction took away.
        return False
    known = {key.key_id for key in entries[0].registration.keys if not key.revoked}
    try:
        if derive_keys(system.token_of(agent_id), agent_id).key_id in known:
            return False
    except (SecretUnavailable, TokenInvalid) as error:
        if "reference" in error.details:
            # Nothing is wrong with a token because nobody can get at it now.
            raise
    await rotate_token(system, agent_id, overlap=0)
    return True


@named("token.rotate", "agent_id")
async def rotate_token(
    system: System,
    agent_id: str,
    *,
    overlap: float = DEFAULT_OVERLAP_S,
    expires_in: float = 0,
    show: bool = False,
) -> IssuedToken:
    """Make a new token; the old ones count for another `overlap` seconds.

    Raises:
        AgentNotFound: The agent is not registered.
    """
    entry = await system.registry.get(agent_id)
    now = await system.store.connection.time_ms()
    key, token = _new_key(system, agent_id, now, expires_in)
    end = now + int(overlap * 1000)
    older = tuple(
        old
        if not old.is_valid(now) or (old.expires and old.expires <= end)
        else msgspec.structs.replace(old, expires=end)
        for old in entry.registration.keys
    )
    issued = _hand_over(system, agent_id, key, token, show=show)
    await system.registry.put(msgspec.structs.replace(entry.registration, keys=(key, *older)))
    return issued


@named("token.revoke", "agent_id")
async def revoke_token(system: System, agent_id: str, key_id: str = "") -> tuple[AgentKey, ...]:
    """Revoke one token of an agent, or all of them; refused from the next commit on.

    Returns:
        The keys that were revoked.

    Raises:
        AgentNotFound: The agent is not registered.
        KeyNotFound: It has no valid token, or none with this id.
    """
    entry = await system.registry.get(agent_id)
    now = await system.store.connection.time_ms()
    keys = [
        msgspec.structs.replace(key, revoked=now) if not key.revoked and key_id in ("", key.key_id) else key
        for key in entry.registration.keys
    ]
    revoked = tuple(key for key in keys if key.revoked == now)
    if not revoked:
        raise KeyNotFound(
            f"{agent_id} has no token {key_id} that could be revoked".replace("  ", " "),
            hint=f"mas agent describe {agent_id}",
        )
    await system.registry.put(msgspec.structs.replace(entry.registration, keys=tuple(keys)))
    is_last = not any(key.is_valid(now) for key in keys)
    await system.store.records.close_connections(agent_id, for_good=is_last)
    return revoked


@named("agent.deregister", "agent_id")
async def deregister(system: System, agent_id: str) -> None:
    """Remove an agent, its standing and the trust in it; its state, and a block of its name, stay.

    Certificates that were issued to it here are revoked, so that they are of no use to whoever has them when
    another agent gets the name.

    Raises:
        AgentNotFound: It is not registered.
    """
    await system.registry.get(agent_id)
    await system.registry.delete(agent_id)
    await _revoke_certificates(system, agent_id)
    await system.store.records.close_connections(agent_id, for_good=True)
    if system.target.tokens_dir is not None:
        agent_login_path(system.target.tokens_dir, agent_id).unlink(missing_ok=True)
    await system.policy.change(lambda document: _without_agent(document, agent_id))


async def _revoke_certificates(system: System, agent_id: str) -> None:
    project = system.target.project
    if project is None or not issued_dir(certificates_dir(project.root)).exists():
        return
    from mas_core.ops.certificate_revocations import revoke  # noqa: PLC0415 - slow, and few have any
    from mas_core.security.certificates import Holder  # noqa: PLC0415

    with contextlib.suppress(KeyNotFound):
        await revoke(system, Holder("agent", agent_id), reason="the agent was deregistered")


async def list_agents(system: System, *, capability: str = "", status: str = "") -> list[AgentSummary]:
    """All registered agents, sorted by id, with these properties if any are given."""
    entries = await system.registry.entries()
    summaries = await _summaries(system, entries)
    return [
        summary
        for summary in summaries
        if (not capability or capability in summary.capabilities) and (not status or summary.status == status)
    ]


async def describe(system: System, agent_id: str) -> AgentDescription:
    """Everything about one agent.

    Raises:
        AgentNotFound: It is not registered.
    """
    entry = await system.registry.get(agent_id)
    (summary,) = await _summaries(system, [entry])
    policy = await system.policy.load()
    rules = (*policy.block_rules(), *policy.trust_rules(), *policy.rules) if policy else ()
    names = {agent_id, "*"}
    limit = RateLimit()
    if policy:
        roles = {f"role:{role}" for role, members in policy.roles.items() if agent_id in members}
        names |= roles
        limit = RateLimits(policy).of(agent_id)
    store = system.store.agent(agent_id)
    revision = (await store.get_state())[0] if system.access.may("open") else 0
    return AgentDescription(
        summary,
        entry.registration,
        entry,
        store.partition,
        limit,
        tuple(
            rule
            for rule in rules
            if rule.sender in names and not _is_only(rule.target, rule.sender, agent_id)
        ),
        tuple(
            rule
            for rule in rules
            if rule.target in names and not _is_only(rule.sender, rule.target, agent_id)
        ),
        revision,
    )


async def require_agents(system: System, *agent_ids: str) -> None:
    """Make sure that these agents are registered.

    Raises:
        AgentNotFound: One is not.
        InvalidIdentifier: One cannot be the id of an agent.
    """
    known = set(await system.store.records.agent_ids())
    for agent_id in agent_ids:
        if agent_id not in known:
            check_agent_id(agent_id)
            raise AgentNotFound(
                f"Agent not found: {agent_id} is not registered",
                hint=("mas agent list", f"mas agent register {agent_id}"),
                agent=agent_id,
            )


def _is_only(this: str, other: str, agent_id: str) -> bool:
    """Whether a rule concerns the agent on one side alone, which it is as one of all or of a role on the other."""
    return this == agent_id != other


def _without_agent(document: PolicyDocument, agent_id: str) -> PolicyDocument:
    """Whoever gets the name next begins with nobody's trust."""
    if agent_id not in document.standings and agent_id not in document.trusted:
        return document
    standings = {name: item for name, item in document.standings.items() if name != agent_id}
    trusted = {name: item for name, item in document.trusted.items() if name != agent_id}
    return msgspec.structs.replace(
        document, standings=standings, trusted=trusted, change=f"deregister {agent_id}"
    )


async def _summaries(system: System, entries: Sequence[AgentEntry]) -> list[AgentSummary]:
    now = await system.store.connection.time_ms()
    try:
        policy = await system.policy.load()
    except IntegrityError:
        # The gateways' alarms say so; who runs can be told nevertheless.
        policy = None
    standings = policy.standings if policy else {}
    backlogs = await system.store.records.backlogs([entry.agent_id for entry in entries])
    scaling = await agent_scaling(system)
    found = []
    for entry, backlog in zip(entries, backlogs, strict=True):
        running = entry.running(now)
        status = "stopped"
        if running:
            status = "draining" if all(item.status == "draining" for item in running) else "running"
        standing = standings.get(entry.agent_id)
        if standing is not None:
            status = standing.kind
        found.append(
            AgentSummary(
                entry.agent_id,
                status,
                entry.capabilities(now),
                len(running),
                sum(item.in_hand for item in running),
                backlog,
                max((item.seen for item in entry.instances), default=0),
                entry.metadata(now),
                standing,
                scaling.get(entry.agent_id, ()),
            )
        )
    return found


def _new_key(system: System, agent_id: str, now: int, expires_in: float) -> tuple[AgentKey, str]:
    token = new_token(system.keys.public_key)
    expires = now + int(expires_in * 1000) if expires_in else 0
    return agent_key(derive_keys(token, agent_id), created=now, expires=expires), token


def _hand_over(system: System, agent_id: str, key: AgentKey, token: str, *, show: bool) -> IssuedToken:
    path = None
    if not show and system.target.tokens_dir is not None:
        check_token_place(system.target.tokens_dir, agent_id)
        path = write_token(system.target.tokens_dir, agent_id, token)
    return IssuedToken(agent_id, key.key_id, key.expires, path, "" if path else token)
