"""Single faults, for runs in which everything happens: each is injected once and has passed when it returns."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.world import World
from tests.faults.zygote import Process


def _always(_world: World) -> bool:
    return True


@dataclass(frozen=True)
class Injection:
    """One fault of the soak."""

    name: str
    inject: Callable[[World], Awaitable[None]]
    is_possible: Callable[[World], bool] = _always
    """Whether this world has what it needs."""


async def kill_gateway(world: World) -> None:
    """A gateway dies, and another is started."""
    await world.kill_gateway(_victim(world))
    await world.start_gateway()


async def stop_gateway(world: World) -> None:
    """A gateway sleeps past its lease."""
    process = world.chance.choice(world.gateways)
    world.note_fault(await world.owned(process))
    process.signal(signal.SIGSTOP)
    await asyncio.sleep(world.chance.uniform(1.6, 3))
    process.signal(signal.SIGCONT)


async def replace_gateway(world: World) -> None:
    """A gateway is asked to end, as when a new version is rolled out."""
    process = _victim(world)
    await world.start_gateway()
    world.gateways.remove(process)
    await process.end()


async def kill_server(world: World) -> None:
    """The server dies and comes back."""
    await world.server.kill()
    await asyncio.sleep(world.chance.uniform(0, 0.5))
    await world.server.start()
    world.note_fault(world.partitions)


async def cut_power(world: World) -> None:
    """What the server had not flushed is gone."""
    await world.server.kill()
    assert world.power is not None
    world.power.cut()
    await world.server.start()
    world.note_fault(world.partitions)


async def kill_counter(world: World) -> None:
    """An agent with a state dies in its handler."""
    group = world.chance.choice(world.counters)
    await world.kill_agents(group)
    await world.start_agents(group)


async def kill_receivers(world: World) -> None:
    """A process with several agents dies."""
    group = world.receivers[-1]
    await world.kill_agents(group)
    await world.start_agents(group)


async def kill_notary(world: World) -> None:
    """The notary dies, and its successor goes on with what it finds in the folder."""
    assert world.notary is not None
    await world.notary.kill()
    await world.start_notary()


def _victim(world: World) -> Process:
    """A gateway that may die: not the one whose memory is watched."""
    return world.chance.choice([item for item in world.gateways if item.pid not in world.spared])


INJECTIONS = [
    Injection("kill -9 of a gateway", kill_gateway),
    Injection("gateway stopped past its lease", stop_gateway),
    Injection("gateway replaced", replace_gateway),
    Injection("kill -9 of the server", kill_server),
    Injection("power cut", cut_power, lambda world: world.power is not None),
    Injection("kill -9 of a counter", kill_counter, lambda world: bool(world.counters)),
    Injection("kill -9 of the notary", kill_notary, lambda world: world.notary is not None),
    Injection("kill -9 of receivers", kill_receivers, lambda world: len(world.receivers) > 1),
]
