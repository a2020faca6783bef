"""NATS core with nats-py: what nobody takes at once is gone."""

from __future__ import annotations

import asyncio
import json

import nats
from nats.aio.msg import Msg

from benchmarks.peers import work

PENDING = 1_000_000


async def _produce() -> None:
    job = work.job()
    client = await nats.connect(job.url)
    sent = 0

    async def send(message: dict[str, object]) -> None:
        nonlocal sent
        await client.publish(job.name, json.dumps(message).encode())
        sent += 1
        if sent % work.AT_ONCE == 0:
            await client.flush()

    await work.produce(job, send)
    await client.drain()


async def _work() -> None:
    job = work.job()
    tally = work.Tally(job)
    client = await nats.connect(job.url)

    async def handle(message: Msg) -> None:
        tally.note(json.loads(message.data))

    await client.subscribe(job.name, cb=handle, pending_msgs_limit=PENDING, pending_bytes_limit=2**30)
    await client.flush()
    work.say("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    work.main(lambda: work.run(_produce()), lambda: work.run(_work()))
