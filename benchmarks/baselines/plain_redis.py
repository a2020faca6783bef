"""Plain redis-py asyncio streams: XADD, XREADGROUP and XACK, with no policy and no gateway.

`plain_redis.py produce|consume|send_paced|receive` reads a `PlainLaunch` and tells a `PlainReport`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import msgspec
import redis.asyncio as redis

from mas_core.base.event_loop import run
from mas_core.ops.bench.load import payload

PIPELINE = 100
CONNECTIONS = 50
STREAM, GROUP, CONSUMER = "plain:stream", "plain", "one"


class PlainLaunch(msgspec.Struct, frozen=True):
    """What to do."""

    url: str
    count: int
    size: int = 300
    rate: float = 0.0


class PlainReport(msgspec.Struct, frozen=True):
    """When it began or ended, what it used, and the time that each message took, where that is asked for."""

    began_ns: int
    ended_ns: int
    cpu_s: float
    times_ns: list[int] = []


async def produce(launch: PlainLaunch) -> PlainReport:
    """Add messages in pipelines of 100."""
    template = payload(launch.size)
    async with redis.Redis.from_url(launch.url) as client:
        await _go(client)
        began, cpu = time.monotonic_ns(), time.process_time()
        for first in range(0, launch.count, PIPELINE):
            async with client.pipeline(transaction=False) as pipe:
                for number in range(first, min(first + PIPELINE, launch.count)):
                    pipe.xadd(STREAM, {"data": json.dumps({**template, "number": number})})
                await pipe.execute()
        return PlainReport(began, time.monotonic_ns(), time.process_time() - cpu)


async def consume(launch: PlainLaunch) -> PlainReport:
    """Read up to 100 at a time, parse them, and acknowledge them in one pipeline."""
    async with redis.Redis.from_url(launch.url) as client:
        await client.delete(STREAM)
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        await _go(client)
        began, cpu, seen = time.monotonic_ns(), time.process_time(), 0
        while seen < launch.count:
            reply = await client.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=PIPELINE, block=5000)
            async with client.pipeline(transaction=False) as pipe:
                for _, entries in reply:
                    for entry, fields in entries:
                        json.loads(fields[b"data"])
                        pipe.xack(STREAM, GROUP, entry)
                        seen += 1
                ended = time.monotonic_ns()
                await pipe.execute()
        cpu = time.process_time() - cpu
        await client.delete(STREAM)
        return PlainReport(began, ended, cpu)


async def send_paced(launch: PlainLaunch) -> PlainReport:
    """Add one message after the other, each at its time."""
    template = payload(launch.size)
    # A command that finds no free connection waits for one; the usual pool would refuse it.
    pool = redis.BlockingConnectionPool.from_url(launch.url, max_connections=CONNECTIONS, timeout=60)
    async with redis.Redis.from_pool(pool) as client:
        await _go(client)
        cpu, began = time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(launch.count):
                while (ahead := began + number / launch.rate - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                group.create_task(_add(client, template, number))
        return PlainReport(int(began * 1e9), time.monotonic_ns(), time.process_time() - cpu)


async def _add(client: redis.Redis, template: dict[str, object], number: int) -> None:
    data = json.dumps({**template, "number": number, "sent": time.monotonic_ns()})
    await client.xadd(STREAM, {"data": data})


async def receive(launch: PlainLaunch) -> PlainReport:
    """Wait for each message in a blocked XREADGROUP, and acknowledge it."""
    times: list[int] = []
    async with redis.Redis.from_url(launch.url) as client:
        await client.delete(STREAM)
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        await _go(client)
        began, cpu = time.monotonic_ns(), time.process_time()
        while len(times) < launch.count:
            reply = await client.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=PIPELINE, block=5000)
            entries = [item for _, entries in reply for item in entries]
            for _, fields in entries:
                times.append(time.monotonic_ns() - json.loads(fields[b"data"])["sent"])
            if entries:
                await client.xack(STREAM, GROUP, *(entry for entry, _ in entries))
        ended, cpu = time.monotonic_ns(), time.process_time() - cpu
        await client.delete(STREAM)
        return PlainReport(began, ended, cpu, times)


async def _go(client: redis.Redis) -> None:
    """Say `ready` with an open connection, and wait for the word."""
    await client.ping()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)


ROLES = {"produce": produce, "consume": consume, "send_paced": send_paced, "receive": receive}


if __name__ == "__main__":
    made = run(ROLES[sys.argv[1]](msgspec.json.decode(sys.stdin.buffer.readline(), type=PlainLaunch)))
    sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n")
    sys.stdout.buffer.flush()
