"""R13: the clocks of agents and gateways are wrong, each in its own direction, and jump while messages pass."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from pathlib import Path

from mas_core.agent.client import Client
from mas_core.errors import RateLimited
from mas_core.model.policy import RateLimit
from mas_core.ops import agents, audit
from mas_core.security.policy_changes import set_limit
from tests.faults.checker import Audited
from tests.faults.cut_system import adds_to_ingress, password_of
from tests.faults.load import TYPE
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.proxy import Command, Cut, Proxy
from tests.faults.world import Plan, World
from tests.faults.zygote import Process, Zygote

FAULT = "clocks of agents and gateways 1-3 h off, jumping"
LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
OFFSETS = (("+3600", "-3600"), ("-3600", "+3600"), ("+10800", "-10800"), ("+0", "+0"), ("-10800", "+10800"))
"""Seconds that gateways and agents are off, one after the other."""
LIMITED = "limited"
PER_MINUTE = 50
REPLAYED = 50
"""Frames that are added once more after each jump."""


def library() -> str | None:
    """Where libfaketime is; None where it is not installed."""
    root = Path("/")
    return next((str(path) for text in LIBRARIES for path in sorted(root.glob(text[1:]))), None)


class SkewedWorld(World):
    """Gateways and agents have a clock each, which is what a file says."""

    agents_proxy: Proxy

    def __init__(self, options: Options, preload: str) -> None:
        self.clocks = {name: options.folder / f"{name}.clock" for name in ("gateways", "agents")}
        self.set_clocks("+0", "+0")
        super().__init__(options, Plan(partitions=1, gateways=1, environ=self._environ(preload, "agents")))
        self._agents_zygote = self.zygote
        self._gateways_zygote = Zygote(self._environ(preload, "gateways"))

    def set_clocks(self, gateways: str, agents: str) -> None:
        """Let them be so many seconds off from now on."""
        for name, offset in (("gateways", gateways), ("agents", agents)):
            self.clocks[name].write_text(offset)

    async def _prepare(self) -> None:
        await super()._prepare()
        self.agent_url = self.agents_proxy.url(password_of(self.server.url))

    async def start_gateway(self, failpoint: str = "") -> Process:
        """A gateway under the gateways' clock."""
        if not self.gateways:
            await self._gateways_zygote.start()
            self._stack.push_async_callback(self._gateways_zygote.stop)
        self.zygote = self._gateways_zygote
        try:
            return await super().start_gateway(failpoint)
        finally:
            self.zygote = self._agents_zygote

    def _environ(self, preload: str, name: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": preload,
            "FAKETIME_TIMESTAMP_FILE": str(self.clocks[name]),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


async def run(options: Options) -> Outcome:
    """Jump, add old frames again, and see what a limit lets through."""
    outcome = Outcome("r13", FAULT)
    preload = library()
    if preload is None:
        outcome.skipped = "libfaketime is not installed (apt-get install libfaketime)"
        return outcome
    world = SkewedWorld(options, preload)
    with Proxy(world.server.socket_path) as proxy:
        frames: list[Command] = []
        proxy.arm(Cut(lambda command: adds_to_ingress(command) and frames.append(command) is not None))
        world.agents_proxy = proxy
        async with world:
            token = (await agents.register(world.system, LIMITED, show=True)).token
            limit = RateLimit(per_minute=PER_MINUTE, per_hour=10**6)
            await world.system.policy.change(lambda document: set_limit(document, LIMITED, limit))
            is_full = asyncio.Event()
            sending = asyncio.create_task(_send_more_than_allowed(world, token, is_full))
            for number in range(options.runs):
                world.set_clocks(*OFFSETS[number % len(OFFSETS)])
                # The library looks at the file once a second.
                await asyncio.sleep(1.5)
                again, frames[:] = frames[-REPLAYED:], []
                for command in again:
                    await world.system.store.connection.call(*command)
                await world.until_working()
                outcome.runs += 1
            await is_full.wait()
            sending.cancel()
            await asyncio.wait([sending])
            audited = await world.finish(outcome)
            await _check(world, outcome, audited)
    return outcome


async def _send_more_than_allowed(world: SkewedWorld, token: str, is_full: asyncio.Event) -> None:
    number = 0
    async with Client(world.system.store, LIMITED, token) as client:
        while True:
            number -= 1
            try:
                await client.send("r0-0", TYPE, {"n": number})
            except RateLimited:
                is_full.set()
                await asyncio.sleep(0.01)


async def _check(world: SkewedWorld, outcome: Outcome, audited: Audited) -> None:
    """No false expiry, and never more than the limit in any minute of the server's clock."""
    if expired := audited.decisions["expired"]:
        outcome.broken += expired
        outcome.offending.append(f"{expired} messages were refused as expired")
    replayed = 0
    times = []
    async for found in audit.records(world.system, newest_first=False):
        record = found.record
        replayed += record.decision == "replayed"
        if record.sender == LIMITED and record.kind == "message" and record.decision == "allowed":
            times.append(record.time)
    times.sort()
    most = max((at - bisect_left(times, time - 60_000 + 1) + 1 for at, time in enumerate(times)), default=0)
    # Places that were reserved and not used in time stay counted, so it may be a little less; more it never is.
    if not 0.9 * PER_MINUTE <= most <= PER_MINUTE:
        outcome.broken += abs(most - PER_MINUTE)
        outcome.offending.append(f"{most} messages in one minute, where the limit is {PER_MINUTE}")
    outcome.notes = f"{replayed} frames again, all recorded as replayed; {most} a minute of {PER_MINUTE}"


ROWS = [Row("r13", FAULT, run, full=100, slice=2)]
