"""Messages end to end through `mas` against plain redis-py without any gateway, in one run on one server.

Run it with `make bench`. Both use the embedded server in the durable profile (appendfsync always). Compare
the ratios: the absolute figures change from machine to machine and from run to run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import redis.asyncio as redis

from mas_core.base.event_loop import run
from mas_core.ops import bench
from mas_core.ops.project import init_project
from mas_core.ops.system import System
from mas_core.settings.project import project_at
from mas_core.settings.running_context import read_running
from mas_core.settings.target import resolve_target

PIPELINE = 100
STREAM, GROUP = "bench:stream", "bench"


def payload(number: int, size: int) -> str:
    return json.dumps({"number": number, "text": "x" * max(1, size - 27)})


async def _produce(url: str, messages: int, size: int) -> None:
    async with redis.Redis.from_url(url) as client:
        for first in range(0, messages, PIPELINE):
            async with client.pipeline(transaction=False) as pipe:
                for number in range(first, min(first + PIPELINE, messages)):
                    pipe.xadd(STREAM, {"data": payload(number, size)})
                await pipe.execute()


async def _consume(url: str, messages: int) -> None:
    async with redis.Redis.from_url(url) as client:
        seen = 0
        while seen < messages:
            reply = await client.xreadgroup(GROUP, "c", {STREAM: ">"}, count=PIPELINE, block=5000)
            async with client.pipeline(transaction=False) as pipe:
                for _, entries in reply:
                    for entry, fields in entries:
                        json.loads(fields[b"data"])
                        pipe.xack(STREAM, GROUP, entry)
                        seen += 1
                await pipe.execute()


def produce(url: str, messages: int, size: int) -> None:
    run(_produce(url, messages, size))


def consume(url: str, messages: int) -> None:
    run(_consume(url, messages))


async def plain_rate(url: str, messages: int, size: int) -> float:
    async with redis.Redis.from_url(url) as client:
        await client.delete(STREAM)
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        context = get_context("spawn")
        consumer = context.Process(target=consume, args=(url, messages))
        producer = context.Process(target=produce, args=(url, messages, size))
        consumer.start()
        producer.start()
        while not await client.xlen(STREAM):
            await asyncio.sleep(0.001)
        started = time.monotonic()
        await asyncio.to_thread(consumer.join)
        seconds = time.monotonic() - started
        producer.join()
        await client.delete(STREAM)
    return messages / seconds


async def _answer(url: str, messages: int) -> None:
    async with redis.Redis.from_url(url) as client:
        last = "0-0"
        for _ in range(messages):
            reply = await client.xreadgroup(GROUP, "c", {STREAM: ">"}, count=1, block=5000)
            last = reply[0][1][0][0]
            await client.rpush("bench:times", time.monotonic_ns())
            await client.xack(STREAM, GROUP, last)


def answer(url: str, messages: int) -> None:
    run(_answer(url, messages))


async def plain_latency_ms(url: str, messages: int, size: int) -> float:
    """Median from XADD until the blocked reader has it, one message at a time."""
    async with redis.Redis.from_url(url) as client:
        await client.delete(STREAM, "bench:times")
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        reader = get_context("spawn").Process(target=answer, args=(url, messages))
        reader.start()
        await asyncio.sleep(1.5)
        times = []
        for number in range(messages):
            started = time.monotonic_ns()
            await client.xadd(STREAM, {"data": payload(number, size)})
            _, moment = await client.blpop("bench:times", timeout=5)
            times.append((int(moment) - started) / 1e6)
            await asyncio.sleep(0.002)
        await asyncio.to_thread(reader.join)
        await client.delete(STREAM)
    return statistics.median(times)


async def measure(folder: Path, messages: int, size: int, rounds: int) -> None:
    running = read_running(project_at(folder))
    assert running is not None
    rows = []
    async with System(resolve_target(config=folder)) as system:
        for _ in range(rounds):
            plain = await plain_rate(running.url, messages, size)
            ours = await bench.send(system, messages=messages, size=size)
            plain_one = await plain_latency_ms(running.url, 300, size)
            ours_one = await bench.send(system, messages=300, size=size, concurrency=1)
            assert ours.lost == ours.duplicated == ours.refused == 0, ours
            rows.append((plain, ours, plain_one, ours_one))
            print(
                f"plain {plain:9,.0f}/s  mas {ours.rate_per_s:9,.0f}/s  ratio {ours.rate_per_s / plain:4.2f}   "
                f"one at a time: plain {plain_one:5.2f} ms  mas {ours_one.handler_p50_ms:5.2f} ms  "
                f"ratio {ours_one.handler_p50_ms / plain_one:4.2f}   "
                f"gateway {ours.gateway_cpu_us_per_message:4.1f} us/message"
            )
    rate = statistics.median(ours.rate_per_s / plain for plain, ours, _, _ in rows)
    latency = statistics.median(one.handler_p50_ms / plain for _, _, plain, one in rows)
    print(f"median of {rounds}: rate {rate:.2f} times plain redis-py, latency {latency:.2f} times a bare hop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mas-bench-") as name:
        folder = Path(name)
        init_project(folder)
        mas = [sys.executable, "-m", "mas_cli"]
        subprocess.run([*mas, "up", "--detach"], cwd=folder, check=True)
        try:
            run(measure(folder, arguments.messages, arguments.size, arguments.rounds))
        finally:
            subprocess.run([*mas, "down"], cwd=folder, check=True)


if __name__ == "__main__":
    main()
