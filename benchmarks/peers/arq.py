"""arq, which keeps no results here and looks for jobs all the time."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import unquote, urlsplit

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from benchmarks.peers import work

job = work.job()
tally = work.Tally(job)


async def handle(_context: dict[str, Any], message: dict[str, Any]) -> None:
    tally.note(message)


def _settings() -> RedisSettings:
    url = urlsplit(job.url)
    return RedisSettings(unix_socket_path=unquote(url.path), password=unquote(url.password or ""))


async def _produce() -> None:
    pool = await create_pool(_settings(), default_queue_name=job.name)
    await work.produce(job, lambda message: pool.enqueue_job("handle", message))
    await pool.aclose()


async def _ready(_context: dict[str, Any]) -> None:
    work.say("ready")


async def _work() -> None:
    worker = Worker(
        [func(handle, name="handle", keep_result=0)],
        queue_name=job.name,
        redis_settings=_settings(),
        max_jobs=work.AT_ONCE,
        poll_delay=0.005,
        on_startup=_ready,
        handle_signals=False,
    )
    await worker.async_run()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    work.main(lambda: work.run(_produce()), lambda: work.run(_work()))
