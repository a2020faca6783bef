"""Plain redis-py asyncio streams: XADD of a hundred messages an entry, and XREAD by many readers that count them.

`plain_fan_out.py publish|hear` reads a `FanOutLaunch` and tells a `PlainReport`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import msgspec
import redis.asyncio as redis

from benchmarks.baselines.plain_redis import PlainReport
from mas_core.base.event_loop import run
from mas_core.ops.bench.load import payload

STREAM = "plain:fan-out"


class FanOutLaunch(msgspec.Struct, frozen=True):
    """What to do."""

    url: str
    count: int
    readers: int
    burst: int = 100
    size: int = 300


async def publish(launch: FanOutLaunch) -> PlainReport:
    """Add entries of as many messages as the product has in a batch, one after the other."""
    template = payload(launch.size)
    async with redis.Redis.from_url(launch.url) as client:
        await _go(client)
        began, cpu = time.monotonic_ns(), time.process_time()
        for first in range(0, launch.count, launch.burst):
            numbers = range(first, min(first + launch.burst, launch.count))
            texts = [json.dumps({**template, "number": number}) for number in numbers]
            await client.xadd(STREAM, {"data": msgspec.msgpack.encode(texts)})
        return PlainReport(began, time.monotonic_ns(), time.process_time() - cpu)


async def hear(launch: FanOutLaunch) -> PlainReport:
    """Read everything as many times as there are readers, and parse each message."""
    async with redis.Redis.from_url(launch.url) as client:
        await client.delete(STREAM)

        async def reader() -> None:
            after, seen = "0-0", 0
            async with redis.Redis.from_url(launch.url) as own:
                while seen < launch.count:
                    reply = await own.xread({STREAM: after}, count=16, block=5000)
                    for _, entries in reply:
                        for entry, fields in entries:
                            after = entry
                            for text in msgspec.msgpack.decode(fields[b"data"]):
                                json.loads(text)
                                seen += 1

        reading = [asyncio.create_task(reader()) for _ in range(launch.readers)]
        await _go(client)
        began, cpu = time.monotonic_ns(), time.process_time()
        await asyncio.gather(*reading)
        ended = time.monotonic_ns()
        await client.delete(STREAM)
        return PlainReport(began, ended, time.process_time() - cpu)


async def _go(client: redis.Redis) -> None:
    """Say `ready` with an open connection, and wait for the word."""
    await client.ping()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)


ROLES = {"publish": publish, "hear": hear}


if __name__ == "__main__":
    made = run(ROLES[sys.argv[1]](msgspec.json.decode(sys.stdin.buffer.readline(), type=FanOutLaunch)))
    sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n")
    sys.stdout.buffer.flush()
