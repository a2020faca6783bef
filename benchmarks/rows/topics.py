"""Topics: batches published once and heard by fifty agents that count, against plain streams read as often."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.baselines.plain_fan_out import FanOutLaunch
from benchmarks.baselines.plain_redis import PlainReport
from benchmarks.options import Options
from benchmarks.processes import module, worker
from benchmarks.table import Row, medians
from benchmarks.workers.hearers import HearerLaunch, HearerReport
from benchmarks.workers.sender import SenderLaunch, SenderReport
from benchmarks.workplace import Workplace, workplace
from mas_core.model.policy import PolicyDocument, Rule
from mas_core.ops.bench.load import Load
from mas_core.security.policy_changes import add_rule

TOPIC = "bench.load"
HEARERS, BURST, AT_ONCE = 50, 100, 4


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the product gave."""

    rate: float
    """Deliveries a second, from the first message sent to the last one counted."""
    figures: dict[str, float]


async def measure(options: Options) -> list[Row]:
    """Deliveries a second, and their ratio to plain streams."""
    count = options.count(20_000, 200)
    hearers = options.count(HEARERS, 5)
    runs: list[Run] = []
    ratios: list[float] = []
    async with workplace(profile=options.profile) as place:
        sender, *names = place.names_in(0, hearers + 1)
        await place.system.policy.change(_allow)
        for _ in range(options.rounds):
            run = await _run(place, sender, names, count)
            plain = await _plain(place, count, len(names))
            runs.append(run)
            ratios.append(run.rate / plain)
            run.figures["plain streams/s"] = plain
    return [
        Row(
            f"topics: deliveries to {hearers} counting agents from batches of {BURST}",
            "at least 100,000/s",
            [run.rate for run in runs],
            "/s",
            at_least=100_000,
            figures=medians([run.figures for run in runs]),
        ),
        Row("topics against plain streams read as often", "", ratios, figures={}),
    ]


def _allow(document: PolicyDocument) -> PolicyDocument:
    return add_rule(document, Rule("", "allow", "*", f"topic:{TOPIC}"))


async def _run(place: Workplace, sender: str, names: list[str], count: int) -> Run:
    store = place.system.store
    tokens = place.tokens
    hearing = HearerLaunch(
        place.url,
        store.namespace,
        store.partitions,
        tuple((name, tokens[name]) for name in names),
        TOPIC,
        count,
    )
    load = Load(count=count, concurrency=AT_ONCE, burst=BURST)
    route = (sender, tokens[sender], f"topic:{TOPIC}")
    sending = SenderLaunch(place.url, store.namespace, store.partitions, (route,), load)
    async with (
        worker("the hearers", module("benchmarks.workers.hearers"), hearing) as hearers,
        worker("the sender", module("benchmarks.workers.sender"), sending) as publisher,
    ):
        gateway_s, server_s = place.gateway_cpu_s(), place.server_cpu_s()
        await publisher.told(b"go")
        sent = await publisher.answered(SenderReport)
        heard = await hearers.answered(HearerReport)
        gateway_s, server_s = place.gateway_cpu_s() - gateway_s, place.server_cpu_s() - server_s
    began = min(memoryview(sent.sent).cast("q"))
    deliveries = heard.heard
    return Run(
        deliveries / (heard.ended_ns - began) * 1e9,
        {
            "hearer us a delivery": heard.cpu_s / deliveries * 1e6,
            "gateway us a message": gateway_s / count * 1e6,
            "server us a delivery": server_s / deliveries * 1e6,
            "missing": count * len(names) - deliveries,
            "out of order": heard.out_of_order,
            "gaps": heard.gaps,
        },
    )


async def _plain(place: Workplace, count: int, readers: int) -> float:
    launch = FanOutLaunch(place.url, count, readers, BURST)
    command = module("benchmarks.baselines.plain_fan_out")
    async with (
        worker("plain readers", (*command, "hear"), launch) as hearers,
        worker("a plain publisher", (*command, "publish"), launch) as publisher,
    ):
        await hearers.told(b"go")
        await publisher.told(b"go")
        sent = await publisher.answered(PlainReport)
        heard = await hearers.answered(PlainReport)
    return count * readers / (heard.ended_ns - sent.began_ns) * 1e9
