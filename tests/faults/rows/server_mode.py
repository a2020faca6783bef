"""R8 in server mode: agents lose their server, their connection or their certificates, and come back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from mas_core.agent.client import Client
from mas_core.agent.connecting import connect
from mas_core.security.certificates import Authority, pem_of
from tests.faults.cut_system import CutSystem, Worker, cut_system
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.proxy import Proxy
from tests.support.server_process import ServerProcess, server_process

FAULT = "agents' server killed, cut off, certificates rotated"
SENDERS = ("left", "right", "third")
RESTART_EVERY = 25
"""Of so many faults one is the end of the server's process, which takes seconds to come back."""
AUTHORITY_EVERY = 100
CERTIFICATES_EVERY = 10
SEEN_S = 1.3
"""How long an agent may take to see another certificate in its files."""


class Faults:
    """What can befall agents between them and their system.

    Args:
        server: The server that they come to.
        proxy: Between them and it.
        agents: Their ids.
    """

    def __init__(self, server: ServerProcess, proxy: Proxy, agents: Sequence[str]) -> None:
        self._server = server
        self._proxy = proxy
        self._agents = agents
        self.made: Counter[str] = Counter()

    def of(self, number: int) -> Callable[[], Awaitable[None]]:
        """The fault with this number, from 1."""
        if number % AUTHORITY_EVERY == 0:
            return self.another_authority
        if number % RESTART_EVERY == 0:
            return self.kill if number // RESTART_EVERY % 2 else self.restart
        if number % CERTIFICATES_EVERY == 0:
            return self.renew_agents if number // CERTIFICATES_EVERY % 2 else self.renew_server
        return self.cut

    async def cut(self) -> None:
        """Every connection is reset, whatever is under way."""
        self.made["cut"] += 1
        self._proxy.reset_all()

    async def kill(self) -> None:
        """The server ends without a word and is started again."""
        self.made["killed"] += 1
        await self._server.kill()
        await self._server.start()

    async def restart(self) -> None:
        """The server ends in order and is started again."""
        self.made["restarted"] += 1
        await self._server.stop()
        await self._server.start()

    async def renew_agents(self) -> None:
        """Every agent has a new certificate, and moves to a new connection by itself."""
        self.made["agents renewed"] += 1
        for agent_id in self._agents:
            self._server.certificates.issue("agent", agent_id)
        await asyncio.sleep(SEEN_S)

    async def renew_server(self) -> None:
        """The server shows a new certificate from the next connection on."""
        self.made["server renewed"] += 1
        self._server.certificates.issue("server", "localhost", ("127.0.0.1",))
        self._proxy.reset_all()

    async def another_authority(self) -> None:
        """Another authority is trusted beside the one so far, issues everything anew, and then is trusted alone."""
        self.made["authority rotated"] += 1
        certificates = self._server.certificates
        older, newer = certificates.authority, Authority.create("mas", now=datetime.now(UTC))
        certificates.ca_path.write_bytes(pem_of([newer.certificate, older.certificate]))
        await asyncio.sleep(SEEN_S)
        certificates.authority = newer
        await self.renew_agents()
        await self.renew_server()
        certificates.ca_path.write_bytes(pem_of([newer.certificate]))
        await asyncio.sleep(SEEN_S)
        self._proxy.reset_all()


async def run(options: Options) -> Outcome:
    """One fault after the other, each as soon as messages are acknowledged again."""
    outcome = Outcome("r8-servers", FAULT, runs=options.runs)
    allow = [(sender, "worker") for sender in SENDERS]
    async with cut_system(*SENDERS, "worker", allow=allow) as system, server_process(system.live) as server:
        with Proxy(("127.0.0.1", server.port), is_raw=True) as proxy:
            senders = [await _client(system, server, proxy, sender) for sender in SENDERS]
            worker = Worker(
                "worker",
                redis_url=f"grpcs://localhost:{proxy.port}",
                token=system.live.tokens["worker"],
                tls=server.certificates.agent("worker"),
                delivery="exactly_once",
            )
            worker.ledger = system.ledger
            await system.stack.enter_async_context(worker)
            faults = Faults(server, proxy, (*SENDERS, "worker"))
            async with system.load(senders, "worker"):
                for number in range(1, options.runs + 1):
                    await faults.of(number)()
                    outcome.recovery_ms.append(await system.recovered_ms(time.monotonic()))
            await system.finish(outcome)
            await system.stack.aclose()
    outcome.figures |= {f"faults: {name}": count for name, count in faults.made.items()}
    outcome.notes = ", ".join(f"{count} {name}" for name, count in faults.made.most_common())
    return outcome


async def _client(system: CutSystem, server: ServerProcess, proxy: Proxy, agent_id: str) -> Client:
    connected = await connect(
        agent_id,
        f"grpcs://localhost:{proxy.port}",
        system.live.tokens[agent_id],
        None,
        tls=server.certificates.agent(agent_id),
    )
    system.stack.push_async_callback(connected.store.close)
    return await system.stack.enter_async_context(
        Client(connected.store, agent_id, system.live.tokens[agent_id])
    )


ROWS = [Row("r8-servers", FAULT, run, full=1_000, slice=12)]
