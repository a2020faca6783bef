"""Users of the server: one for each agent that comes to it itself, and those of the system's own roles.

Passwords are made here, go into private files, and reach the server as hashes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from mas_core.base.resources import kind_of, name_of
from mas_core.errors import (
    ConfigurationError,
    Conflict,
    NotFound,
    SecretUnavailable,
)
from mas_core.model.policy import ANYONE, PolicyDocument
from mas_core.ops.agents import require_agents
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.settings.private_files import private_dir, write_private
from mas_core.settings.server_logins import (
    ROLES,
    Role,
    ServerLogin,
    agent_login_path,
    new_login,
    read_login,
    role_login_path,
    url_for,
    write_login,
)
from mas_core.settings.target import Target
from mas_core.store.connection import Connection
from mas_core.store.server_users import agent_rules, role_rules
from mas_core.store.urls import read_store_url
from mas_core.store.user_admin import DEFAULT, Kept, UserAdmin

_SUBSCRIBE: Final = "subscribe"
_CLOSED: Final = "default-off"
"""Beside the logins of the roles: says that nobody is to come in as the default user."""

Change = Literal["", "made", "renewed", "updated", "removed"]
Default = Literal["keep", "on", "off"]
Kind = Literal["agent", "gateway", "front", "auditor", "operator", "default", "other"]


@dataclass(frozen=True, slots=True)
class ServerUserInfo:
    """A user of the server, and whether its login is at hand."""

    user: str
    kind: Kind
    agent: str = ""
    path: Path | None = None
    """Where its login is kept; None when it is not at hand."""
    rules: tuple[str, ...] = ()
    change: Change = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of users of the server."""

    users: tuple[ServerUserInfo, ...]
    kept: Kept
    default_off: bool = False
    """Whether nobody can come in as the default user any more."""


async def agent_user(system: System, agent_id: str) -> ServerUserInfo:
    """The user that an agent would have, and nothing is changed.

    Raises:
        AgentNotFound: The agent is not registered.
        ConfigurationError: The server cannot have users for agents.
    """
    await require_agents(system, agent_id)
    _check_database(system)
    policy = await system.policy.load()
    rules = agent_rules(system.store.keys, agent_id, topic_patterns(policy, agent_id))
    path = agent_login_path(_tokens_dir(system), agent_id)
    change: Change = "made" if read_login(path) is None else "updated"
    return ServerUserInfo(system.store.keys.server_user(agent_id), "agent", agent_id, path, rules, change)


@named("agent.provision", "agent_ids")
async def provision(system: System, agent_ids: Sequence[str], *, rotate: bool = False) -> Applied:
    """Give agents users of the server of their own, each with just the rights that it needs.

    For one that has a user its rights become what they are now for its topics; the password stays.

    Args:
        system: The system; we have to come as a user that may make others.
        agent_ids: The agents; the login of each is kept beside its token.
        rotate: Make new passwords, and end the connections with the old ones.

    Raises:
        AgentNotFound: An agent is not registered.
        ConfigurationError: The server cannot have users for agents.
        SecretUnavailable: No folder of tokens is known.
        InternalError: The server refuses; we may not, or it is older than 7.0.
    """
    planned = [await agent_user(system, agent_id) for agent_id in agent_ids]
    admin = UserAdmin(system.store.connection)
    async with system.operator_log.writing("server_user", *agent_ids) as change:
        users = [await _put_agent(admin, item, rotate=rotate) for item in planned]
        kept = await admin.keep()
        change.facts = {"users": {item.user: item.change for item in users}}
    return Applied(tuple(users), kept)


@named("agent.unprovision", "agent_id")
async def unprovision(system: System, agent_id: str) -> Applied:
    """Remove the user of an agent and its login; its connections end, and its token still counts.

    Raises:
        NotFound: It has no user.
    """
    path = agent_login_path(_tokens_dir(system), agent_id)
    user = system.store.keys.server_user(agent_id)
    admin = UserAdmin(system.store.connection)
    if user not in await admin.names() and not path.exists():
        raise NotFound(
            f"{agent_id} has no user of the server", hint=f"mas agent provision {agent_id}", agent=agent_id
        )
    async with system.operator_log.writing("server_user", agent_id, change={"users": {user: "removed"}}):
        await admin.remove(user)
        kept = await admin.keep()
        path.unlink(missing_ok=True)
    return Applied((ServerUserInfo(user, "agent", agent_id, change="removed"),), kept)


@named("server_users.apply")
async def apply(system: System, *, default: Default = "keep", force: bool = False) -> Applied:
    """Make the users of gateway, auditor and operator, and put those of agents back whose logins are at hand.

    Args:
        system: The system; we have to come as a user that may make others.
        default: Let nobody in as the default user any more (off), let it in again (on), or leave it as it is.
        force: Turn it off although others are connected as it.

    Raises:
        Conflict: Others are connected as the default user.
        SecretUnavailable: No folder of keys is known.
        InternalError: The server refuses.
    """
    mark = _keys_dir(system) / "server-users" / _CLOSED
    admin = UserAdmin(system.store.connection)
    if default == "off" and not force:
        await _check_nobody_is_default(admin)
    there = set(await admin.names())
    async with system.operator_log.writing("server_user", change={"default": default}) as change:
        users = [await _put_role(system, admin, role, there) for role in ROLES]
        if default == "off":
            await _check_logins(system, users)
        with_logins = [await agent_user(system, agent_id) for agent_id in await _with_logins(system)]
        users += [await _put_agent(admin, planned) for planned in with_logins]
        if default != "keep":
            await admin.set_default(on=default == "on")
        if default == "off":
            write_private(private_dir(mark.parent) / mark.name, b"")
        elif default == "on":
            mark.unlink(missing_ok=True)
        kept = await admin.keep()
        change.facts = {"default": default, "users": {item.user: item.change for item in users}}
    return Applied(tuple(users), kept, mark.exists())


async def apply_at_start(target: Target, *, default_off: bool) -> Target:
    """Put the users of a system in force before anything else of it starts, where it has any or is to have some.

    Args:
        target: The system, as it is configured.
        default_off: Let nobody in as the default user any more, now and from then on.

    Returns:
        How to come to the system from then on.

    Raises:
        Conflict: Others are connected as the default user.
        InternalError: The server refuses.
    """
    assert target.keys_dir is not None  # noqa: S101 - whoever starts a project has its folder of keys
    was_off = is_default_off(target.keys_dir)
    if not default_off and not role_login_path(target.keys_dir, "operator").exists():
        return target
    async with System(await admin_target(target.as_operator())) as system:
        await apply(system, default="off" if default_off or was_off else "keep", force=was_off)
    return target.as_operator()


async def list_users(system: System) -> list[ServerUserInfo]:
    """The users of the server, with those of the system first."""
    keys = system.store.keys
    roles = {keys.role_user(role): role for role in ROLES}
    prefix = keys.server_user("")
    target = system.target
    found = []
    for user in await UserAdmin(system.store.connection).names():
        if user in roles:
            path = None if target.keys_dir is None else role_login_path(target.keys_dir, roles[user])
            found.append(ServerUserInfo(user, roles[user], path=_if_there(path)))
        elif user.startswith(prefix):
            agent = user.removeprefix(prefix)
            path = None if target.tokens_dir is None else agent_login_path(target.tokens_dir, agent)
            found.append(ServerUserInfo(user, "agent", agent, _if_there(path)))
        else:
            found.append(ServerUserInfo(user, "default" if user == DEFAULT else "other"))
    return sorted(found, key=lambda item: (item.kind == "other", item.kind == "agent", item.user))


def is_default_off(keys_dir: Path) -> bool:
    """Whether nobody is to come in as the default user."""
    return (keys_dir / "server-users" / _CLOSED).exists()


async def with_valid_tokens(system: System, agent_ids: Sequence[str]) -> list[str]:
    """Those of these agents that are registered and have a token that counts: to no others a user is given back."""
    now = await system.store.connection.time_ms()
    entries = await system.registry.entries(agent_ids)
    return [entry.agent_id for entry in entries if any(key.is_valid(now) for key in entry.registration.keys)]


def topic_patterns(policy: PolicyDocument | None, agent_id: str) -> tuple[str, ...]:
    """Patterns of the topics that rules let an agent subscribe to, perhaps more than it may in the end.

    What is there too much opens nothing: logs are sealed under keys that gateways give.
    """
    if policy is None:
        return ()
    mine = {
        agent_id,
        ANYONE,
        *(f"role:{role}" for role, members in policy.roles.items() if agent_id in members),
    }
    return tuple(
        sorted(
            {
                name_of(rule.target)
                for rule in policy.rules
                if rule.effect == "allow"
                and kind_of(rule.target) == "topic"
                and rule.action in (_SUBSCRIBE, ANYONE)
                and (rule.sender in mine or rule.sender.startswith("capability:"))
            }
        )
    )


async def admin_target(target: Target) -> Target:
    """The system as somebody who may make users: its operator, or who is configured where the server forgot it.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    if not target.base_url or await _takes(target.url):
        return target
    return replace(target, url=target.base_url, base_url="")


async def _put_role(system: System, admin: UserAdmin, role: Role, there: set[str]) -> ServerUserInfo:
    keys = system.store.keys
    path = role_login_path(_keys_dir(system), role)
    login = read_login(path)
    user = keys.role_user(role)
    if login is None or login.user != user:
        login = new_login(user)
        write_login(path, login)
    rules = role_rules(keys, role)
    await admin.put(login, rules)
    return ServerUserInfo(user, role, "", path, rules, "updated" if user in there else "made")


async def _put_agent(admin: UserAdmin, planned: ServerUserInfo, *, rotate: bool = False) -> ServerUserInfo:
    assert planned.path is not None  # noqa: S101 - `agent_user` says where
    before = read_login(planned.path)
    login = before if before is not None and not rotate else new_login(planned.user)
    if login != before:
        # The file first: a password that nobody has kept would be lost.
        write_login(planned.path, login)
    await admin.put(ServerLogin(planned.user, login.password), planned.rules)
    if before is None or not rotate:
        return planned
    await admin.close_connections(login.user)
    return replace(planned, change="renewed")


async def _with_logins(system: System) -> list[str]:
    """Agents whose logins are at hand and that may come in."""
    folder = system.target.tokens_dir
    if folder is None or not folder.is_dir():
        return []
    names = {path.stem for path in folder.glob("*.redis")}
    known = [agent_id for agent_id in await system.store.records.agent_ids() if agent_id in names]
    return await with_valid_tokens(system, known)


async def _check_nobody_is_default(admin: UserAdmin) -> None:
    if count := await admin.connections_as(DEFAULT):
        raise Conflict(
            f"{count} connections are open as the default user, which could not come back",
            hint=(
                "mas redis-users apply",
                "start gateways and agents again, then: mas redis-users apply --default off",
                "mas redis-users apply --default off --force",
            ),
            connections=count,
        )


async def _check_logins(system: System, users: Sequence[ServerUserInfo]) -> None:
    """Make sure that the users we are about to depend on get in."""
    for item in users:
        if not await _takes(url_for(system.target.base_url or system.target.url, read_login(item.path))):
            raise ConfigurationError(
                f"the server does not let {item.user} in, so the default user stays on",
                hint="mas redis-users list",
            )


async def _takes(url: str) -> bool:
    """Whether the server lets us in.

    Raises:
        StoreUnreachable: It does not answer.
    """
    connection = Connection(url)
    try:
        await connection.call("PING")
    except ConfigurationError:
        return False
    finally:
        await connection.close()
    return True


def _check_database(system: System) -> None:
    if read_store_url(system.target.url).options.get("db"):
        raise ConfigurationError(
            "users of the server count in every database of it, so a system with agents that have their own "
            "needs a server, or at least database 0, to itself",
            hint="mas config set url redis://HOST:PORT/0",
        )


def _tokens_dir(system: System) -> Path:
    if system.target.tokens_dir is None:
        raise SecretUnavailable(
            "the login of an agent is kept beside its token, and no folder of tokens is known for this system",
            hint=("run it in the project folder", "mas context add NAME --tokens-dir DIR"),
        )
    return system.target.tokens_dir


def _keys_dir(system: System) -> Path:
    if system.target.keys_dir is None:
        raise SecretUnavailable(
            "logins of the system's roles are kept beside its keys, and no folder of keys is known for it",
            hint=("run it in the project folder", "mas context add NAME --keys-dir DIR"),
        )
    return system.target.keys_dir


def _if_there(path: Path | None) -> Path | None:
    return path if path is not None and path.exists() else None
