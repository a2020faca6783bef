"""R7: the primary is cut off from its replica, goes on for a moment, and the replica takes its place."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from mas_core.store.server_program import find_server_program
from tests.faults.cut_system import CutSystem
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.proxy import Proxy
from tests.support.server_groups import PASSWORD, Member, free_port
from tests.support.systems import live_system

FAULT = "partition and promotion (ha)"
SENDERS = ("left", "right", "third", "fourth")
OF_A_FAILOVER = 100
"""Messages that are acknowledged before the next one."""
PARTITION_S = 1.0


class Pair:
    """A primary and its replica, each of which can become the other; clients find the primary behind `url`."""

    def __init__(self, folder: Path, program: Path) -> None:
        settings = {
            "requirepass": PASSWORD, "masterauth": PASSWORD, "save": '""', "appendonly": "yes",
            "appendfsync": "always", "maxmemory-policy": "noeviction", "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1", "min-replicas-to-write": "1", "proto-max-bulk-len": "2mb",
            "repl-timeout": "5",
        }  # fmt: skip
        self.primary, self.replica = (
            Member(program, folder / name, free_port(), dict(settings)) for name in "ab"
        )
        self.links = [
            Proxy(("127.0.0.1", member.port), is_raw=True) for member in (self.primary, self.replica)
        ]
        """Where the other one copies a member from; in the order of their ports."""
        self.ports = [self.primary.port, self.replica.port]
        self.fronts: list[Proxy] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Both run within the block, and are in step when it begins."""
        with contextlib.ExitStack() as stack:
            for link in self.links:
                stack.enter_context(link)
            for member in (self.primary, self.replica):
                member.start()
                stack.callback(member.kill)
            self._follow()
            yield

    def link_to(self, member: Member) -> Proxy:
        """The link over which a member is copied."""
        return self.links[self.ports.index(member.port)]

    def partition(self) -> None:
        """From here on the replica hears nothing of the primary, which is not told."""
        self.link_to(self.primary).freeze()

    def promote(self) -> None:
        """The replica becomes the primary, and everybody is led there."""
        self.replica.call("REPLICAOF", "NO", "ONE")
        # With nobody to copy it, it takes no writes until the old one has come back as its replica.
        self.primary, self.replica = self.replica, self.primary
        for front in self.fronts:
            front.upstream = ("127.0.0.1", self.primary.port)
            front.reset_all()

    def rejoin(self) -> None:
        """The old primary comes back as the replica; what only it had is gone."""
        self.link_to(self.replica).reset_all()
        self.link_to(self.replica).thaw()
        self._follow()

    def _follow(self) -> None:
        self.replica.call("REPLICAOF", "127.0.0.1", self.link_to(self.primary).port)
        deadline = time.monotonic() + 60
        while self.replica.call("ROLE")[3] != "connected":
            if time.monotonic() > deadline:
                raise TimeoutError("the replica does not come into step")
            time.sleep(0.02)


async def run(options: Options) -> Outcome:
    """Fail over while messages pass, until so many were acknowledged (`runs`)."""
    outcome = Outcome("r7", FAULT)
    pair = Pair(options.folder, await find_server_program())
    with pair.running(), contextlib.ExitStack() as proxies:
        pair.fronts = [proxies.enter_context(Proxy(("127.0.0.1", pair.primary.port))) for _ in range(3)]
        operator, gateway_side, agent_side = pair.fronts
        allow = [(sender, "worker") for sender in SENDERS]
        async with (
            live_system(operator.url(PASSWORD), agents=(*SENDERS, "worker"), allow=allow, gateways=0) as live,
            AsyncExitStack() as gateway_stack,
            AsyncExitStack() as stack,
        ):
            system = CutSystem(live, operator.url(PASSWORD), gateway_side, agent_side, gateway_stack)
            system.replicas = 1
            await system.start_gateway()
            system.stack = stack
            senders = [await system.start_client(sender) for sender in SENDERS]
            await system.start_agent("worker")
            async with system.load(senders, "worker"):
                while len(system.ledger.acknowledged) < options.runs:
                    await _fail_over(system, pair, outcome)
            await system.finish(outcome)
    outcome.notes = f"{system.ledger.unknown} unknown, all cleared by asking again under the same id"
    return outcome


async def _fail_over(system: CutSystem, pair: Pair, outcome: Outcome) -> None:
    wanted = len(system.ledger.acknowledged) + OF_A_FAILOVER
    async with asyncio.timeout(120):
        while len(system.ledger.acknowledged) < wanted:
            await asyncio.sleep(0.01)
    pair.partition()
    await asyncio.sleep(PARTITION_S)
    before = len(system.ledger.acknowledged)
    await asyncio.to_thread(pair.promote)
    began = time.monotonic()
    await asyncio.to_thread(pair.rejoin)
    while len(system.ledger.acknowledged) <= before:
        await asyncio.sleep(0.002)
    outcome.recovery_ms.append((time.monotonic() - began) * 1000)
    outcome.runs += 1


ROWS = [Row("r7", FAULT, run, full=10_000, slice=100)]
