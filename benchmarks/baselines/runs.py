"""Runs the baselines: a process that receives, one that sends, as for the product."""

from __future__ import annotations

from benchmarks.baselines.plain_redis import PlainLaunch, PlainReport
from benchmarks.processes import module, worker
from benchmarks.workplace import Workplace
from mas_core.ops.bench.figures import Spread, spread


async def plain_rate(place: Workplace, count: int, size: int = 300) -> float:
    """Messages a second through plain streams in pipelines of 100, from the first sent to the last handled."""
    sent, received = await _pair("produce", "consume", PlainLaunch(place.url, count, size))
    return count / (received.ended_ns - sent.began_ns) * 1e9


async def bare_hop(place: Workplace, count: int, rate: float, size: int = 300) -> Spread:
    """How long one message takes from XADD to a blocked XREADGROUP, so many a second."""
    _, received = await _pair("send_paced", "receive", PlainLaunch(place.url, count, size, rate))
    return spread(received.times_ns)


async def _pair(sending: str, receiving: str, launch: PlainLaunch) -> tuple[PlainReport, PlainReport]:
    command = module("benchmarks.baselines.plain_redis")
    async with (
        worker(receiving, (*command, receiving), launch) as receiver,
        worker(sending, (*command, sending), launch) as sender,
    ):
        await receiver.told(b"go")
        await sender.told(b"go")
        sent = await sender.answered(PlainReport)
        return sent, await receiver.answered(PlainReport)
