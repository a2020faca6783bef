"""A system to measure: a server of its own, gateways as processes, and the full policy."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.full_policy import agent_names, full_policy
from benchmarks.processes import Worker, cpu_seconds, module, worker
from mas_core.base.ids import partition_of
from mas_core.ops.agents import register_many
from mas_core.ops.system import System
from mas_core.security.certificate_files import write_pair
from mas_core.security.certificates import Authority, Holder, key_pem, new_key, pem_of
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.target import Target
from mas_core.settings.tls_files import TlsFiles
from mas_core.store.embedded_server import EmbeddedServer

NAMESPACE = "bench"
READY_SECONDS = 60.0


@dataclass
class Front:
    """A server of agents that runs, and the authority that its agents come from."""

    url: str
    folder: Path
    authority: Authority
    process: Worker

    def tls_of(self, name: str) -> TlsFiles:
        """The certificate of an agent, made for this."""
        ca_path = self.folder / "ca.pem"
        path = certificate_for(self.authority, Holder("agent", name), self.folder)
        return TlsFiles(path, path, ca_path)

    def cpu_s(self) -> float:
        """Its processor time."""
        return cpu_seconds(self.process.process.pid)


@dataclass
class Workplace:
    """A system that runs."""

    system: System
    server: EmbeddedServer
    folder: Path
    tokens: dict[str, str]
    stack: AsyncExitStack
    gateways: list[Worker] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The server's URL."""
        return self.server.url

    def server_cpu_s(self) -> float:
        """Processor time of the server."""
        return cpu_seconds(self.server.pid)

    def gateway_cpu_s(self) -> float:
        """Processor time of all gateways."""
        return sum(cpu_seconds(gateway.process.pid) for gateway in self.gateways)

    async def start_gateway(self, **environment: str) -> Worker:
        """One more gateway as a process of its own; it owns its share of the partitions when this returns."""
        gateway = await self.stack.enter_async_context(
            _gateway(self.folder, {"MAS_URL": self.url, **environment})
        )
        self.gateways.append(gateway)
        async with asyncio.timeout(READY_SECONDS):
            while True:
                running = await self.system.gateways()
                shares = [len(item.partitions) for item in running]
                if len(running) == len(self.gateways) and min(shares) > 0 and sum(shares) == self.partitions:
                    return gateway
                await asyncio.sleep(0.05)

    async def start_front(self) -> Front:
        """A server of agents as a process of its own, in front of the store."""
        folder = self.folder / "certs"
        folder.mkdir(mode=0o700)
        authority = Authority.create("mas", now=datetime.now(UTC))
        (folder / "ca.pem").write_bytes(pem_of([authority.certificate]))
        certificate_for(authority, Holder("server", "localhost"), folder)
        command = (*module("benchmarks.workers.server"), str(self.folder))
        made = await self.stack.enter_async_context(
            worker("the server", command, environment={"MAS_URL": self.url})
        )
        port = int(await made.heard(READY_SECONDS))
        return Front(f"grpcs://localhost:{port}", folder, authority, made)

    @property
    def partitions(self) -> int:
        """How many there are."""
        return self.system.store.partitions

    async def register(self, names: Sequence[str]) -> None:
        """Register agents."""
        self.tokens.update(await register_many(self.system, names))

    async def set_policy(self, routes: Sequence[tuple[str, str]], *, signing: bool = False) -> None:
        """Put the full policy in force, with rules that let these pairs talk."""
        await self.system.policy.change(lambda document: full_policy(document, list(routes), signing=signing))

    def names_in(self, partition: int, count: int) -> list[str]:
        """Ids among the agents of the full policy whose inboxes lie in a partition."""
        found = [name for name in agent_names() if partition_of(name, self.partitions) == partition]
        return found[:count]


def certificate_for(authority: Authority, holder: Holder, folder: Path) -> Path:
    """The file of a new certificate and its key."""
    key = new_key()
    certificate = authority.issue(holder, key.public_key(), now=datetime.now(UTC))
    path = folder / f"{holder.kind}-{holder.name}.pem"
    write_pair(pem_of([certificate]), key_pem(key), path)
    return path


@asynccontextmanager
async def _gateway(folder: Path, environment: dict[str, str]) -> AsyncIterator[Worker]:
    command = (*module("benchmarks.workers.gateway"), str(folder))
    async with worker("a gateway", command, environment=environment) as made:
        yield made


@asynccontextmanager
async def workplace(
    *, partitions: int = 1, gateways: int = 1, profile: str = "durable"
) -> AsyncIterator[Workplace]:
    """A system with the agents of the full policy registered, and nobody allowed to talk yet.

    Args:
        partitions: Number of partitions.
        gateways: Gateways to start.
        profile: durable flushes each commit to disk before it is answered.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mas-bench-")))
        keys_dir = folder / ".mas" / "keys"
        GatewayKeys.load_or_create(keys_dir)
        (folder / "mas.yaml").write_text(
            json.dumps({"namespace": NAMESPACE, "partitions": partitions, "profile": profile})
        )
        server = await stack.enter_async_context(
            EmbeddedServer(folder / "server", folder / "run", keys_dir, profile=profile)
        )
        target = Target(server.url, namespace=NAMESPACE, partitions=partitions, keys_dir=keys_dir)
        system = await stack.enter_async_context(System(target))
        place = Workplace(system, server, folder, {}, stack)
        await place.register(agent_names())
        await place.set_policy(())
        for _ in range(gateways):
            await place.start_gateway()
        yield place
