"""Celery on Redis: one worker in one process, which keeps no results."""

from __future__ import annotations

import logging
import time
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from celery import Celery
from celery.signals import worker_ready

from benchmarks.peers import work

job = work.job()
tally = work.Tally(job)


def _broker_url() -> str:
    url = urlsplit(job.url)
    return f"redis+socket://:{quote(unquote(url.password or ''), safe='')}@{url.path}"


app = Celery("peer", broker=_broker_url())
app.conf.update(
    task_ignore_result=True,
    task_default_queue=job.name,
    worker_prefetch_multiplier=work.AT_ONCE,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)


@app.task(name="handle")
def handle(message: dict[str, Any]) -> None:
    tally.note(message)


def produce() -> None:
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=3)
        work.wait_for_start()
        began = time.monotonic_ns()
        with app.producer_pool.acquire(block=True) as producer:
            for message in job.messages():
                handle.apply_async((message,), producer=producer)
    work.produced(began)


@worker_ready.connect
def _ready(**_: object) -> None:
    work.say("ready")


def consume() -> None:
    app.worker_main(
        [
            "worker",
            "--pool=solo",
            "--concurrency=1",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=CRITICAL",
        ]
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    work.main(produce, consume)
