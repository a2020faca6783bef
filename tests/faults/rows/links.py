"""R8: real processes behind links that are reset, stall, are slow, refuse and go down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.faults.cut_system import password_of
from tests.faults.namespace import Namespace, why_not
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.proxy import Proxy
from tests.faults.world import Plan, World

FAULT = "links reset, half-open, slow, refusing"
FAULT_DOWN = "link down"
MOST_BYTES = 40_000
MOST_DOWN_S = 60
MOST_DOWN_OF_SLICE_S = 3


class ProxiedWorld(World):
    """Gateways and agents each reach the server through a proxy."""

    gateways_proxy: Proxy
    agents_proxy: Proxy

    async def _prepare(self) -> None:
        await super()._prepare()
        password = password_of(self.server.url)
        self.gateway_url = self.gateways_proxy.url(password)
        self.agent_url = self.agents_proxy.url(password)


async def run(options: Options) -> Outcome:
    """One fault after the other, at a random side and time."""
    outcome = Outcome("r8-links", FAULT)
    world = ProxiedWorld(options)
    with Proxy(world.server.socket_path) as agents, Proxy(world.server.socket_path) as gateways:
        world.agents_proxy, world.gateways_proxy = agents, gateways
        async with world:
            for _ in range(options.runs):
                await asyncio.sleep(world.chance.uniform(0, 0.5))
                proxy = world.chance.choice((agents, gateways))
                await world.chance.choice(_FAULTS)(world, proxy)
                world.note_fault(world.partitions)
                await world.until_working()
                outcome.runs += 1
            agents.disarm()
            gateways.disarm()
            await world.finish(outcome)
    return outcome


async def run_down(options: Options) -> Outcome:
    """Agents, gateways or both behind a link that is down for a while."""
    outcome = Outcome("r8-down", FAULT_DOWN)
    outcome.skipped = why_not()
    if outcome.skipped:
        return outcome
    most = MOST_DOWN_OF_SLICE_S if options.is_slice else MOST_DOWN_S
    with Namespace() as namespace:
        world = ProxiedWorld(options, Plan(prefix=namespace.prefix))
        with (
            Proxy(world.server.socket_path, host=namespace.host) as agents,
            Proxy(world.server.socket_path, host=namespace.host) as gateways,
        ):
            world.agents_proxy, world.gateways_proxy = agents, gateways
            async with world:
                for _ in range(options.runs):
                    await asyncio.sleep(world.chance.uniform(0, 1))
                    namespace.down()
                    await asyncio.sleep(world.chance.uniform(1, most))
                    namespace.up()
                    world.note_fault(world.partitions)
                    await world.until_working(120)
                    outcome.runs += 1
                await world.finish(outcome)
    outcome.notes = f"down for 1 to {most} s"
    return outcome


async def _reset(_world: World, proxy: Proxy) -> None:
    proxy.reset_all()


async def _stall(world: World, proxy: Proxy) -> None:
    proxy.freeze()
    await asyncio.sleep(world.chance.uniform(0.5, 4))
    if world.chance.random() < 0.5:
        proxy.reset_all()
    proxy.thaw()


async def _delay(world: World, proxy: Proxy) -> None:
    proxy.delay_s = world.chance.uniform(0.01, 0.3)
    await asyncio.sleep(1)
    proxy.delay_s = 0


async def _refuse(world: World, proxy: Proxy) -> None:
    proxy.is_refusing = True
    proxy.reset_all()
    await asyncio.sleep(world.chance.uniform(0.1, 3))
    proxy.is_refusing = False


async def _drop(world: World, proxy: Proxy) -> None:
    drops = [
        proxy.drop_after(world.chance.randrange(1, MOST_BYTES), to_server=to_server)
        for to_server in (True, False, world.chance.random() < 0.5)
    ]
    await world.until(lambda: all(drop.made.is_set() for drop in drops), "connections to be dropped")


_FAULTS: tuple[Callable[[World, Proxy], Awaitable[None]], ...] = (_reset, _stall, _delay, _refuse, _drop)

ROWS = [
    Row("r8-links", FAULT, run, full=300, slice=3),
    Row("r8-down", FAULT_DOWN, run_down, full=30, slice=1),
]
