"""One message at a time, a thousand a second: from `send` to the handler, against a bare hop and FastStream."""

from __future__ import annotations

from benchmarks.baselines.runs import bare_hop
from benchmarks.options import Options
from benchmarks.peers.installing import NotInstalled
from benchmarks.peers.runs import FASTSTREAM, run_peer
from benchmarks.processes import ProcessFailed
from benchmarks.product import run_product
from benchmarks.table import Row, medians, not_measured
from benchmarks.workplace import workplace
from mas_core.ops.bench.figures import Spread
from mas_core.ops.bench.load import Load

RATE = 1000.0


async def measure(options: Options) -> list[Row]:
    """Median and p99 against a bare XADD to a blocked XREADGROUP, p95 against FastStream's."""
    count = options.count(5000, 300)
    rounds: list[tuple[Spread, Spread]] = []
    peers: list[Spread] = []
    failure = ""
    async with workplace(profile=options.profile) as place:
        sender, receiver = place.names_in(0, 2)
        await place.set_policy([(sender, receiver)])
        for _ in range(options.rounds):
            run = await run_product(place, [(sender, receiver)], Load(count=count, rate=RATE))
            rounds.append((run.to_handler, await bare_hop(place, count, RATE)))
            if not failure:
                try:
                    peers.append((await run_peer(FASTSTREAM, place.url, count, RATE)).to_handler)
                except (NotInstalled, ProcessFailed) as reason:
                    failure = str(reason)
    figures = medians([{**_figures("mas", ours), **_figures("bare hop", bare)} for ours, bare in rounds])
    name = "one message at a time, 1,000/s: p95 against FastStream"
    target = "below FastStream's"
    return [
        Row(
            "one message at a time, 1,000/s: median",
            "at most 3 times a bare hop",
            [ours.p50_ms / bare.p50_ms for ours, bare in rounds],
            at_most=3.0,
            figures=figures,
        ),
        Row(
            "one message at a time, 1,000/s: p99",
            "at most 4 times a bare hop",
            [ours.p99_ms / bare.p99_ms for ours, bare in rounds],
            at_most=4.0,
        ),
        not_measured(name, target, failure)
        if failure
        else Row(
            name,
            target,
            [ours.p95_ms / theirs.p95_ms for (ours, _), theirs in zip(rounds, peers, strict=True)],
            at_most=1.0,
            figures=medians([_figures("FastStream", theirs) for theirs in peers]),
        ),
    ]


def _figures(name: str, found: Spread) -> dict[str, float]:
    return {f"{name} p50 ms": found.p50_ms, f"{name} p95 ms": found.p95_ms, f"{name} p99 ms": found.p99_ms}
