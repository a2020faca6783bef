"""Where an agent connects to, and with which token: a server, or a gateway in its own process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from mas_core.errors import SecretUnavailable
from mas_core.gateway.in_process import InProcessGateway
from mas_core.settings.private_files import read_token
from mas_core.settings.secrets import is_reference, resolve
from mas_core.settings.target import resolve_target
from mas_core.store.store import Store


@dataclass(frozen=True, slots=True)
class Connected:
    """What an agent has once it is connected."""

    store: Store
    token: str
    gateway: InProcessGateway | None = None
    """The gateway in this process, to which the store belongs."""
    tokens_dir: Path | None = None
    """Where keys of the agent may lie beside its token."""


async def connect(
    agent_id: str,
    url: str | None,
    token: str | None,
    gateway: InProcessGateway | None,
    *,
    namespace: str | None = None,
    partitions: int | None = None,
) -> Connected:
    """Open the store, and find the token or have one made.

    Args:
        agent_id: Who connects.
        url: The server; the project's when left out. `memory://` is a gateway in this process.
        token: The agent's, or a reference to it; the one in the project's token file when left out.
        gateway: A gateway in this process, which is used instead.
        namespace: The project's when left out.
        partitions: The project's when left out.

    Raises:
        SecretUnavailable: There is no token at hand, or a reference leads nowhere.
    """
    if token is not None and is_reference(token):
        # It may come from a program or a vault.
        token = (await asyncio.to_thread(resolve, token, Path.cwd())).get_secret_value().strip()
    if gateway is None and (url or "").startswith("memory:"):
        gateway = await InProcessGateway.in_memory(str(url))
    if gateway is not None:
        return Connected(gateway.store, token or await gateway.admit(agent_id), gateway)
    target = await asyncio.to_thread(resolve_target, url=url)
    if token is None:
        if target.tokens_dir is None:
            raise SecretUnavailable(
                f"there is no token for {agent_id}",
                hint=(f"Agent('{agent_id}', token=...)", f"mas agent register {agent_id}"),
            )
        token = await asyncio.to_thread(read_token, target.tokens_dir, agent_id)
    store = Store(
        target.url,
        namespace=namespace or target.namespace,
        partitions=partitions or target.partitions,
    )
    return Connected(store, token, tokens_dir=target.tokens_dir)
