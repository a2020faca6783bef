"""dramatiq on Redis: one process with its usual eight threads."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import work

job = work.job()
tally = work.Tally(job)
lock = threading.Lock()
broker = RedisBroker(url=job.url, namespace=job.name)
dramatiq.set_broker(broker)


@dramatiq.actor(broker=broker)
def handle(message: dict[str, Any]) -> None:
    with lock:
        tally.note(message)


def produce() -> None:
    work.wait_for_start()
    began = time.monotonic_ns()
    for message in job.messages():
        handle.send(message)
    work.produced(began)


def consume() -> None:
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    work.say("ready")
    worker.join()
    threading.Event().wait()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    work.main(produce, consume)
