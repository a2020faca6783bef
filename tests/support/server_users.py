"""Agents and gateways of a live system that come to the server as users of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from support.systems import LiveSystem, Recorder

from mas_core.agent.agent import Agent
from mas_core.agent.client import Client
from mas_core.gateway.service import Gateway
from mas_core.ops import server_users
from mas_core.settings.private_files import private_dir
from mas_core.settings.server_logins import Role, read_login, role_login_path, url_for
from mas_core.store.connection import Connection, script_text
from mas_core.store.store import Store
from mas_core.store.wire import Command

AnyAgent = TypeVar("AnyAgent", bound=Agent[Any])

_CALLS = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'(?:\s*,\s*'([A-Z]+)')?")
_IN_TWO_WORDS = frozenset({"XGROUP", "XINFO", "ACL", "CLIENT", "CLUSTER", "CONFIG", "SCRIPT"})
COMMITTED = frozenset({"xadd", "xack", "xdel", "xtrim", "hset", "hdel", "hincrby", "pexpire", "zadd", "zrem"})
"""What the commands of a commit are called, which it is told as arguments."""


def keep_tokens(running: LiveSystem) -> None:
    """Give the system a folder of tokens."""
    folder = private_dir(running.folder / ".mas" / "tokens")
    object.__setattr__(running.system.target, "tokens_dir", folder)


async def url_of_agent(running: LiveSystem, agent_id: str) -> str:
    """The URL of an agent's own user, which is made or updated."""
    if running.system.target.tokens_dir is None:
        keep_tokens(running)
    (user,) = (await server_users.provision(running.system, [agent_id])).users
    return url_for(running.system.target.url, read_login(user.path))


def store_as(running: LiveSystem, url: str) -> Store:
    """The store of the system as another user."""
    return Store(url, namespace=running.store.namespace, partitions=running.store.partitions)


async def run_as_itself(
    running: LiveSystem,
    agent_id: str,
    kind: type[AnyAgent] = Recorder,  # type: ignore[assignment]
    **options: Any,
) -> AnyAgent:
    """A started agent that comes as its own user; stopped when the test ends."""
    agent = kind(
        agent_id,
        redis_url=await url_of_agent(running, agent_id),
        namespace=running.store.namespace,
        partitions=running.store.partitions,
        token=running.tokens[agent_id],
        **options,
    )
    return await running.stack.enter_async_context(agent)


async def client_as_itself(running: LiveSystem, agent_id: str) -> Client:
    """A started client that comes as the agent's own user; stopped when the test ends."""
    store = store_as(running, await url_of_agent(running, agent_id))
    running.stack.push_async_callback(store.close)
    return await running.stack.enter_async_context(Client(store, agent_id, running.tokens[agent_id]))


async def url_of_role(running: LiveSystem, role: Role) -> str:
    """The URL of one of the system's roles, whose users are made."""
    await server_users.apply(running.system)
    assert running.system.target.keys_dir is not None
    login = read_login(role_login_path(running.system.target.keys_dir, role))
    return url_for(running.system.target.url, login)


async def gateway_as_itself(running: LiveSystem) -> Gateway:
    """A gateway that comes as the gateway's own user."""
    store = store_as(running, await url_of_role(running, "gateway"))
    running.gateway_stack.push_async_callback(store.close)
    gateway = Gateway(store, running.keys, running.settings)
    await running.gateway_stack.enter_async_context(gateway)
    running.gateways.append(gateway)
    return gateway


@contextmanager
def recording(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """What is called over a connection meanwhile, and by its scripts, in the words of the ACL."""
    called: set[str] = set()
    scripts = {connection._sha(name): name for name in connection_scripts()}
    wires = connection._wires
    for method in ("execute", "execute_apart", "execute_everywhere"):
        send = getattr(wires, method)

        def note(commands: list[Command], *more: Any, send: Any = send) -> Any:
            for command in commands:
                called.update(_called(command, scripts))
            return send(commands, *more)

        monkeypatch.setattr(wires, method, note)
    yield called


def connection_scripts() -> list[str]:
    """Names of all scripts."""
    from mas_core.store.connection import _SCRIPTS

    return list(_SCRIPTS)


def calls_of_script(name: str) -> set[str]:
    """What a script calls, in the words of the ACL."""
    found = {_word(*match.groups()) for match in _CALLS.finditer(script_text(name))}
    return found | COMMITTED if name == "commit" else found


def _called(command: Command, scripts: dict[str, str]) -> set[str]:
    name = str(command[0])
    found = {_word(name, str(command[1]) if len(command) > 1 else None)}
    if name == "EVALSHA":
        found |= calls_of_script(scripts[str(command[1])])
    return found


def _word(name: str, second: str | None) -> str:
    return f"{name}|{second}".lower() if name in _IN_TWO_WORDS else name.lower()
