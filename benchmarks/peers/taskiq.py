"""taskiq with its broker on Redis streams, which acknowledges; no result backend."""

from __future__ import annotations

import logging
from typing import Any

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from benchmarks.peers import work

job = work.job()
broker = RedisStreamBroker(job.url, queue_name=job.name, consumer_group_name="peer")
tally = work.Tally(job)


@broker.task(task_name="handle")
async def handle(message: dict[str, Any]) -> None:
    tally.note(message)


async def _produce() -> None:
    await broker.startup()
    await work.produce(job, handle.kiq)
    await broker.shutdown()


async def _work() -> None:
    broker.is_worker_process = True
    await broker.startup()
    work.say("ready")
    await run_receiver_task(broker, max_async_tasks=work.AT_ONCE, max_prefetch=work.AT_ONCE)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    work.main(lambda: work.run(_produce()), lambda: work.run(_work()))
