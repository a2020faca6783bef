"""NATS JetStream with nats-py: kept in files, every publication and every message acknowledged."""

from __future__ import annotations

import json

import nats
from nats.errors import TimeoutError as NatsTimeoutError

from benchmarks.peers import work


async def _produce() -> None:
    job = work.job()
    client = await nats.connect(job.url)
    stream = client.jetstream()
    await work.produce(job, lambda message: stream.publish(job.name, json.dumps(message).encode()))
    await client.drain()


async def _work() -> None:
    job = work.job()
    tally = work.Tally(job)
    client = await nats.connect(job.url)
    stream = client.jetstream()
    await stream.add_stream(name=job.name, subjects=[job.name])
    subscription = await stream.pull_subscribe(job.name, durable="peer")
    work.say("ready")
    while True:
        try:
            messages = await subscription.fetch(work.AT_ONCE, timeout=1)
        except NatsTimeoutError:
            continue
        for message in messages:
            tally.note(json.loads(message.data))
            await message.ack()


if __name__ == "__main__":
    work.main(lambda: work.run(_produce()), lambda: work.run(_work()))
