"""A whole system inside the test's own process: store, keys, gateways, and agents with tokens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from mas_core.agent.agent import Agent
from mas_core.agent.client import Client
from mas_core.agent.connecting import connect
from mas_core.gateway.in_process import InProcessGateway
from mas_core.gateway.service import Gateway
from mas_core.model.audit_record import AuditRecord
from mas_core.model.message import AgentMessage
from mas_core.model.policy import PolicyDocument, RateLimit, Rule
from mas_core.ops import agents, audit
from mas_core.ops.system import System
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.policy_changes import add_rule
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.target import Target
from mas_core.store.contract import AgentSide
from mas_core.store.memory import forget_memory
from mas_core.store.store import Store

from .serving import Serving, serving

REMOTE = "grpcs+"
"""Before the URL of a server: agents come to it through a server of agents."""

AnyAgent = TypeVar("AnyAgent", bound=Agent[Any])

QUICK_RETRIES = {"strategy": "fixed", "base": 0.02, "jitter": 0}
"""Three attempts, one right after the other."""

GENEROUS = RateLimit(per_minute=1_000_000, per_hour=1_000_000)

_numbers = itertools.count(1)


def new_namespace() -> str:
    """A prefix of keys that nothing else in this run uses."""
    return f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def own_namespace() -> str:
    """A prefix of keys for this test."""
    return new_namespace()


class Recorder(Agent[Any]):
    """Takes every message and keeps it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.messages: list[AgentMessage] = []

    async def on_message(self, message: AgentMessage) -> object:
        """Keep it."""
        self.messages.append(message)
        return None

    @property
    def numbers(self) -> list[object]:
        """Field `n` of each message, in the order of arrival."""
        return [message.data.get("n") for message in self.messages]


@dataclass
class LiveSystem:
    """What a test needs of a system."""

    system: System
    settings: GatewaySettings
    folder: Path
    stack: AsyncExitStack
    gateway_stack: AsyncExitStack
    tokens: dict[str, str] = field(default_factory=dict)
    gateways: list[Gateway] = field(default_factory=list)
    serving: Serving | None = None
    """The server that agents come to, where they do not reach the store themselves."""

    @property
    def store(self) -> Store:
        """The store of operators and gateways."""
        return self.system.store

    @property
    def keys(self) -> GatewayKeys:
        """The keys of the gateways."""
        return self.system.keys

    async def register(self, *agent_ids: str, **options: Any) -> str:
        """Register agents; the token of the last."""
        token = ""
        for agent_id in agent_ids:
            issued = await agents.register(self.system, agent_id, show=True, **options)
            token = self.tokens[agent_id] = issued.token
        return token

    async def allow(self, *pairs: tuple[str, str], **options: Any) -> None:
        """Add one allow rule for each pair of sender and target; in force when this returns."""

        def edit(document: PolicyDocument) -> PolicyDocument:
            for sender, target in pairs:
                document = add_rule(document, Rule("", "allow", sender, target, **options))
            return document

        await self.system.policy.change(edit)

    async def change_policy(self, **fields: Any) -> None:
        """Replace fields of the policy document; in force when this returns."""
        await self.system.policy.change(lambda document: msgspec.structs.replace(document, **fields))

    def agent(self, agent_id: str, kind: type[AnyAgent] = Recorder, **options: Any) -> AnyAgent:  # type: ignore[assignment]
        """An agent of this system, not started; an instance of its own each time."""
        if "token" not in options:
            options["token"] = self.tokens[agent_id]
        if self.store.connection.is_memory:
            made = kind(agent_id, **options)
            made.set_gateway(InProcessGateway(self.store, self.keys))
            return made
        if self.serving is not None:
            options.setdefault("tls", self.serving.certificates.agent(agent_id))
            return kind(agent_id, redis_url=self.serving.url, **options)
        return kind(
            agent_id,
            redis_url=self.system.target.url,
            namespace=self.store.namespace,
            partitions=self.store.partitions,
            **options,
        )

    async def run(self, agent_id: str, kind: type[AnyAgent] = Recorder, **options: Any) -> AnyAgent:  # type: ignore[assignment]
        """A started agent, stopped when the test ends."""
        return await self.stack.enter_async_context(self.agent(agent_id, kind, **options))

    async def client(self, agent_id: str) -> Client:
        """A started client that sends as an agent, stopped when the test ends."""
        store: AgentSide = self.store
        if not self.store.connection.is_memory and self.serving is None:
            store = Store(
                self.system.target.url, namespace=self.store.namespace, partitions=self.store.partitions
            )
            self.stack.push_async_callback(store.close)
        if self.serving is not None:
            store = (
                await connect(
                    agent_id,
                    self.serving.url,
                    self.tokens[agent_id],
                    None,
                    tls=self.serving.certificates.agent(agent_id),
                )
            ).store
            self.stack.push_async_callback(store.close)
        return await self.stack.enter_async_context(Client(store, agent_id, self.tokens[agent_id]))

    async def start_gateway(self, **options: Any) -> Gateway:
        """One more gateway, stopped when the test ends."""
        gateway = Gateway(self.store, self.keys, self.settings, **options)
        await self.gateway_stack.enter_async_context(gateway)
        self.gateways.append(gateway)
        return gateway

    async def spawn_gateway(
        self, *arguments: str, variables: Mapping[str, str] | None = None, **fields: Any
    ) -> asyncio.subprocess.Process:
        """A gateway as a process of its own, ready when this returns; killed when the test ends.

        Args:
            arguments: Words of its command line.
            variables: More of its environment.
            fields: More fields of its mas.yaml.
        """
        # The servers of the tests keep what the profile fast promises.
        profile = "ha" if self.system.target.profile == "ha" else "fast"
        config = {
            "profile": profile,
            **fields,
            "namespace": self.store.namespace,
            "partitions": self.store.partitions,
            "gateway": self.settings.model_dump(mode="json", exclude_unset=True),
        }
        (self.folder / "mas.yaml").write_text(json.dumps(config))
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "GATEWAY_"))
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mas_core.gateway",
            *arguments,
            cwd=self.folder,
            env={**environ, "MAS_URL": self.system.target.url, **(variables or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self.gateway_stack.push_async_callback(_end, process)
        assert process.stderr is not None
        lines = []
        while line := await process.stderr.readline():
            lines.append(line.decode())
            if b"gateway.ready" in line:
                self.gateway_stack.callback(asyncio.create_task(_drain(process.stderr)).cancel)
                return process
        raise AssertionError("the gateway did not start: " + "".join(lines))

    async def owners(self) -> list[str]:
        """Who owns each partition."""
        return [meta.get("owner", b"").decode() for meta in await self.store.records.metas()]

    async def audit(self, **wanted: Any) -> list[AuditRecord]:
        """Audit records with these field values, oldest first."""
        found = [item.record async for item in audit.records(self.system, newest_first=False)]
        return [
            record
            for record in found
            if all(getattr(record, name) == value for name, value in wanted.items())
        ]

    async def audit_holds(self) -> bool:
        """Whether the chain of every partition verifies."""
        return all(item.result.ok for item in await audit.verify(self.system))


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


@asynccontextmanager
async def live_system(
    url: str,
    *,
    agents: Sequence[str] = (),
    allow: Iterable[tuple[str, str]] = (),
    limit: RateLimit | None = GENEROUS,
    partitions: int | None = None,
    gateways: int = 1,
    namespace: str = "",
    profile: str = "durable",
    **settings: Any,
) -> AsyncIterator[LiveSystem]:
    """A system on the server at `url`: what runs in it ends with it.

    Args:
        url: The server, which may be `memory://`; with `grpcs+` before it agents come through a server of agents.
        agents: Ids to register.
        allow: Pairs of sender and target that may talk.
        limit: Rate limit of everybody; None for no policy at all.
        partitions: Number of partitions; when left out 1, and on a Cluster one for each master.
        gateways: Gateways to start.
        namespace: Prefix of keys; one of its own when left out.
        profile: Whether what is acknowledged waits for a replica (`ha`).
        settings: Fields of `GatewaySettings`; `retry` is quick when left out.
    """
    settings.setdefault("retry", QUICK_RETRIES)
    partitions = partitions or (3 if "+cluster:" in url else 1)
    is_remote, url = url.startswith(REMOTE), url.removeprefix(REMOTE)
    # `make sdk`: agents of every test come through a server of agents, wherever there is a real store behind it.
    is_remote = is_remote or (bool(os.environ.get("MAS_TEST_OVER_GRPC")) and not url.startswith("memory:"))
    if url == "memory://":
        url = f"memory://{new_namespace()}"
    with tempfile.TemporaryDirectory(prefix="mas-test-") as folder:
        keys_dir = Path(folder) / ".mas" / "keys"
        GatewayKeys.load_or_create(keys_dir)
        target = Target(
            url,
            namespace=namespace or new_namespace(),
            partitions=partitions,
            profile=profile,
            keys_dir=keys_dir,
        )
        # Agents end before the gateways, so that they can say goodbye.
        async with System(target) as system, AsyncExitStack() as gateway_stack, AsyncExitStack() as stack:
            running = LiveSystem(system, GatewaySettings(**settings), Path(folder), stack, gateway_stack)
            await running.register(*agents)
            if limit is not None:
                await running.change_policy(default_limit=limit)
                await running.allow(*allow)
            for _ in range(gateways):
                await running.start_gateway()
            if is_remote:
                opening = serving(system, Path(folder) / "certs")
                running.serving = await gateway_stack.enter_async_context(opening)
            yield running
        if url.startswith("memory:"):
            forget_memory(url)
