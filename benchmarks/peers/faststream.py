"""FastStream on Redis streams, with a consumer group."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from faststream.redis import RedisBroker, StreamSub

from benchmarks.peers import work


async def _produce() -> None:
    job = work.job()
    async with RedisBroker(job.url, logger=None) as broker:
        await work.produce(job, lambda message: broker.publish(message, stream=job.name))


async def _work() -> None:
    job = work.job()
    tally = work.Tally(job)
    broker = RedisBroker(job.url, logger=None)

    @broker.subscriber(stream=StreamSub(job.name, group="peer", consumer="one"))
    async def handle(message: dict[str, Any]) -> None:
        tally.note(message)

    async with broker:
        await broker.start()
        work.say("ready")
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    work.main(lambda: work.run(_produce()), lambda: work.run(_work()))
