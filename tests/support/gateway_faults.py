"""Rolling restarts and take-overs of gateways, counted and timed from outside.

Run it for the long versions: `python tests/support/gateway_faults.py restarts --count 50`, or
`takeovers --count 100`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import platform
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.servers import embedded_server
from support.systems import LiveSystem, Recorder, live_system
from support.waiting import until

from mas_core.agent import Agent
from mas_core.errors import MasError

PARTITIONS = 4
RECEIVERS = tuple(f"agent{number}" for number in range(8))
PAUSE_S = 0.02


class Echo(Agent):
    """Answers with what it was asked."""

    async def on_message(self, message):
        """Give it back."""
        return message.data


@dataclass
class Traffic:
    """What senders and callers saw."""

    acknowledged: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in RECEIVERS})
    answered: int = 0
    send_errors: list[str] = field(default_factory=list)
    request_errors: list[str] = field(default_factory=list)
    slowest_request_s: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What was found out afterwards."""

    restarts: int
    exit_codes: Counter
    acknowledged: int
    lost: int
    doubled: int
    answered: int
    send_errors: list[str]
    request_errors: list[str]
    slowest_request_s: float
    audit_holds: bool


@asynccontextmanager
async def loaded(system: LiveSystem, receivers: dict[str, Recorder]) -> AsyncIterator[Traffic]:
    """Send and ask for as long as this is open."""
    traffic, stop = Traffic(), asyncio.Event()
    sender = await system.run("alice")
    asker = await system.run("carol")

    async def send(name):
        number = 0
        while not stop.is_set():
            number += 1
            try:
                await sender.send(name, "x", {"n": number})
                traffic.acknowledged[name].add(number)
            except MasError as error:
                traffic.send_errors.append(str(error))
            await asyncio.sleep(PAUSE_S)

    async def ask(lane):
        number = lane
        while not stop.is_set():
            number += 4
            began = time.monotonic()
            try:
                reply = await asker.request("echo", "x", {"n": number}, timeout=30)
                assert reply.data == {"n": number}
                traffic.answered += 1
            except (MasError, AssertionError) as error:
                traffic.request_errors.append(str(error))
            traffic.slowest_request_s = max(traffic.slowest_request_s, time.monotonic() - began)
            await asyncio.sleep(PAUSE_S)

    tasks = [asyncio.create_task(send(name)) for name in receivers]
    tasks += [asyncio.create_task(ask(lane)) for lane in range(4)]
    try:
        yield traffic
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def two_gateways(url: str) -> AsyncIterator[tuple[LiveSystem, list[asyncio.subprocess.Process]]]:
    """A system of four partitions whose gateways are processes of their own."""
    async with live_system(
        url,
        agents=["alice", "carol", "echo", *RECEIVERS],
        allow=[("alice", "*"), ("carol", "*")],
        partitions=PARTITIONS,
        gateways=0,
    ) as system:
        processes = [await system.spawn_gateway(), await system.spawn_gateway()]
        yield system, processes


async def rolling_restarts(url: str, count: int) -> Verdict:
    """End one of two gateways with SIGTERM and start it again, in turn, `count` times under load."""
    async with two_gateways(url) as (system, processes):
        await system.run("echo", Echo)
        receivers = {name: await system.run(name) for name in RECEIVERS}
        codes: Counter = Counter()
        async with loaded(system, receivers) as traffic:
            for number in range(count):
                process = processes[number % 2]
                process.terminate()
                codes[await process.wait()] += 1
                processes[number % 2] = await system.spawn_gateway()
                mark = traffic.answered
                await until(lambda mark=mark: traffic.answered > mark + 20, seconds=30)
        with contextlib.suppress(AssertionError):
            await until(
                lambda: all(
                    traffic.acknowledged[name] <= set(agent.numbers) for name, agent in receivers.items()
                ),
                seconds=20,
            )
        seen = {name: Counter(agent.numbers) for name, agent in receivers.items()}
        return Verdict(
            count,
            codes,
            sum(map(len, traffic.acknowledged.values())),
            sum(len(numbers - set(seen[name])) for name, numbers in traffic.acknowledged.items()),
            sum(times - 1 for counts in seen.values() for times in counts.values()),
            traffic.answered,
            traffic.send_errors,
            traffic.request_errors,
            traffic.slowest_request_s,
            await system.audit_holds(),
        )


async def takeovers(url: str, count: int) -> list[float]:
    """Kill one of two gateways `count` times; seconds until the other owns all that it had."""
    times = []
    async with two_gateways(url) as (system, processes):

        async def is_shared():
            owners = await system.owners()
            return "" not in owners and len(set(owners)) == 2

        for number in range(count):
            await until(is_shared, seconds=20)
            await asyncio.sleep(0.1 * (number % 10))
            running = {gateway.pid: gateway.gateway_id for gateway in await system.system.gateways()}
            victim = processes[number % 2]
            gone = running[victim.pid]
            began = time.monotonic()
            victim.kill()

            async def is_taken_over(gone=gone):
                return gone not in await system.owners()

            await until(is_taken_over, seconds=20)
            times.append(time.monotonic() - began)
            await victim.wait()
            processes[number % 2] = await system.spawn_gateway()
    return times


async def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("restarts", "takeovers"))
    parser.add_argument("--count", type=int, default=50)
    given = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}")  # noqa: T201
    async with embedded_server("durable") as server:
        if given.what == "restarts":
            found = await rolling_restarts(server.url, given.count)
            print(found)  # noqa: T201
            return int(bool(found.lost or found.doubled or found.request_errors or not found.audit_holds))
        times = sorted(await takeovers(server.url, given.count))
        p50, p99 = times[len(times) // 2], times[max(0, round(len(times) * 0.99) - 1)]
        print(f"{len(times)} take-overs: p50 {p50:.2f} s, p99 {p99:.2f} s, longest {times[-1]:.2f} s")  # noqa: T201
        return int(p99 > 2.0)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
