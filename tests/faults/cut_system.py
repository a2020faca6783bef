"""A system whose every connection to the server leads through proxies, with a load that writes ledgers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from mas_core import Agent, AgentMessage
from mas_core.agent.client import Client
from mas_core.errors import GatewayDown, MasError, Refused, RequestTimedOut, StoreFull, Unreachable
from mas_core.gateway.service import Gateway
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Decision
from mas_core.store.connection import Connection, script_text
from mas_core.store.embedded_server import EmbeddedServer
from mas_core.store.store import Store
from tests.faults.outcome import Outcome
from tests.faults.proxy import Command, Proxy
from tests.support.servers import embedded_server
from tests.support.systems import LiveSystem, live_system

UNKNOWN = (GatewayDown, Unreachable, RequestTimedOut)
"""What says that nobody knows what became of a message; anything else is definite."""
PAUSE_S = 0.005
TYPES = ("load.item", "load.ask")
DELIVERED = {str(decision) for decision in Decision if decision.is_delivered}


@dataclass
class Ledger:
    """What was acknowledged and what handlers saw, written down outside of what is tested."""

    acknowledged: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    handled: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    """How often handlers ran that change a state; runs that do not count are thrown away."""
    unknown: int = 0
    """How often nobody knew, so that the same id was sent again."""
    contradictions: list[str] = field(default_factory=list)

    def compare(self, outcome: Outcome, records: Sequence[AuditRecord]) -> None:
        """Count what must not be, against the audit."""
        allowed = Counter(
            record.message_id
            for record in records
            if record.kind == "message" and record.decision in DELIVERED and record.type in TYPES
        )
        handled, delivered = set(self.handled), set(allowed)
        counted = {
            "lost": self.acknowledged - handled,
            "duplicated": {name for name, times in self.handled.items() if times > 1},
            "unaudited": handled - delivered,
            "undelivered": (delivered - handled) | {name for name, times in allowed.items() if times > 1},
            "broken": set(self.contradictions),
        }
        for field_name, names in counted.items():
            setattr(outcome, field_name, getattr(outcome, field_name) + len(names))
            outcome.offending += [f"{field_name}: {name}" for name in sorted(names)[:5]]
        outcome.acknowledged += len(self.acknowledged)
        outcome.figures |= {
            "unknown": self.unknown,
            **{f"refused {code}": n for code, n in self.refused.items()},
        }


class Worker(Agent[Any]):
    """Takes everything, notes it, and answers requests with their number."""

    ledger: Ledger

    async def on_message(self, message: AgentMessage) -> object:
        """Note the id before the message is settled."""
        self.ledger.handled[message.message_id] += 1
        return {"n": message.data["n"]} if message.meta.expects_reply else None


@dataclass
class CutSystem:
    """A running system, its proxies and its ledger."""

    live: LiveSystem
    url: str
    """Of the server."""
    gateway_side: Proxy
    agent_side: Proxy
    stack: AsyncExitStack
    ledger: Ledger = field(default_factory=Ledger)
    senders: list[Client] = field(default_factory=list)
    replicas: int = 0
    """Replicas that must have what was acknowledged."""
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def password(self) -> str:
        """The server's."""
        return password_of(self.url)

    async def start_gateway(self, **options: Any) -> Gateway:
        """One more gateway behind its proxy."""
        store = await self.stack.enter_async_context(
            Store(
                self.gateway_side.url(self.password),
                namespace=self.live.store.namespace,
                partitions=self.live.store.partitions,
                replicas=self.replicas,
            )
        )
        gateway = Gateway(store, self.live.keys, self.live.settings, **options)
        return await self.stack.enter_async_context(gateway)

    async def start_agent(self, agent_id: str, kind: type[Agent[Any]] = Worker, **options: Any) -> Any:
        """A started agent behind its proxy."""
        agent = kind(
            agent_id,
            redis_url=self.agent_side.url(self.password),
            token=self.live.tokens[agent_id],
            namespace=self.live.store.namespace,
            partitions=self.live.store.partitions,
            **options,
        )
        agent.ledger = self.ledger
        return await self.stack.enter_async_context(agent)

    async def start_client(self, agent_id: str) -> Client:
        """A started sender behind the agents' proxy."""
        store = await self.stack.enter_async_context(
            Store(
                self.agent_side.url(self.password),
                namespace=self.live.store.namespace,
                partitions=self.live.store.partitions,
            )
        )
        return await self.stack.enter_async_context(Client(store, agent_id, self.live.tokens[agent_id]))

    async def send_until_known(self, sender: Client, target: str, *, timeout: float = 10) -> bool:
        """Send one message, with the same id again while nobody knows what became of it; whether it was taken."""
        message_id = f"m-{next(self._numbers)}"
        while True:
            try:
                receipt = await sender.send(
                    target, "load.item", {"text": "x" * 100}, message_id=message_id, timeout=timeout
                )
            except UNKNOWN:
                self.ledger.unknown += 1
                continue
            except (Refused, StoreFull) as error:
                self.ledger.refused[error.code] += 1
                return False
            if receipt.message_id != message_id or receipt.decision is not Decision.ALLOWED:
                self.ledger.contradictions.append(message_id)
            self.ledger.acknowledged.add(message_id)
            return True

    async def ask_until_known(self, sender: Client, target: str, *, timeout: float = 10) -> bool:
        """Ask once, with the same id again while there is no answer."""
        number = next(self._numbers)
        message_id = f"m-{number}"
        while True:
            try:
                reply = await sender.request(
                    target, "load.ask", {"n": number}, message_id=message_id, timeout=timeout
                )
            except UNKNOWN:
                self.ledger.unknown += 1
                continue
            except MasError as error:
                self.ledger.refused[error.code] += 1
                return False
            if reply.data != {"n": number}:
                self.ledger.contradictions.append(message_id)
            self.ledger.acknowledged.add(message_id)
            return True

    @asynccontextmanager
    async def load(self, senders: Sequence[Client], target: str, *, each: int = 2) -> AsyncIterator[None]:
        """Within the block every sender sends and asks, one message after the other."""
        stop = asyncio.Event()

        async def send(sender: Client, number: int) -> None:
            while not stop.is_set():
                ask = number % 2 and target != sender.agent_id
                await (self.ask_until_known if ask else self.send_until_known)(sender, target)
                await asyncio.sleep(PAUSE_S)

        tasks = [asyncio.create_task(send(sender, number)) for sender in senders for number in range(each)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def recovered_ms(self, began: float, seconds: float = 60) -> float:
        """Milliseconds from `began` until something sent later than now is acknowledged."""
        known = len(self.ledger.acknowledged)
        async with asyncio.timeout(seconds):
            while len(self.ledger.acknowledged) <= known:
                await asyncio.sleep(0.001)
        return (time.monotonic() - began) * 1000

    async def finish(self, outcome: Outcome, seconds: float = 60) -> None:
        """Wait until everything that was acknowledged was handled, and count."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.ledger.acknowledged - set(self.ledger.handled):
                    await asyncio.sleep(0.02)
        self.ledger.compare(outcome, await self.live.audit())
        if not await self.live.audit_holds():
            outcome.broken += 1
            outcome.offending.append("the chain of the audit does not hold")


@asynccontextmanager
async def cut_system(
    *agents: str,
    allow: Sequence[tuple[str, str]] = (),
    profile: str = "fast",
    gateways: int = 1,
    server: EmbeddedServer | None = None,
    **settings: Any,
) -> AsyncIterator[CutSystem]:
    """A system on a server of its own, or on one that is not started yet."""
    async with server or embedded_server(profile) as running:
        with Proxy(running.socket_path) as gateway_side, Proxy(running.socket_path) as agent_side:
            async with (
                live_system(running.url, agents=agents, allow=allow, gateways=0, **settings) as live,
                AsyncExitStack() as gateway_stack,
                AsyncExitStack() as stack,
            ):
                made = CutSystem(live, running.url, gateway_side, agent_side, gateway_stack)
                for _ in range(gateways):
                    await made.start_gateway()
                made.stack = stack
                yield made


async def info(connection: Connection) -> dict[str, str]:
    """What the server says of itself."""
    lines = (await connection.call("INFO")).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def password_of(url: str) -> str:
    """The password in a URL."""
    return unquote(urlsplit(url).password or "")


def calls_script(name: str) -> Any:
    """Fits the call of one of our scripts."""
    sha = hashlib.sha1(script_text(name).encode()).hexdigest().encode()  # noqa: S324 - how the server names it
    return lambda command: command[0] == b"EVALSHA" and command[1] == sha


def adds_to_ingress(command: Command) -> bool:
    """Fits what an agent sends."""
    return command[0] == b"XADD" and b":ingress:" in command[1]


def reads_inbox(command: Command) -> bool:
    """Fits an agent's look into its inbox."""
    return command[0] == b"XREADGROUP"


def reads_replies(command: Command) -> bool:
    """Fits an agent's wait for receipts and replies."""
    return command[0] == b"XREAD"
