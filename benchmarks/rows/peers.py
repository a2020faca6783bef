"""The same messages through what people use today without any policy."""

from __future__ import annotations

from contextlib import AsyncExitStack

from benchmarks.options import Options
from benchmarks.peers.installing import NotInstalled
from benchmarks.peers.runs import PEERS, Peer, nats, run_peer
from benchmarks.processes import ProcessFailed
from benchmarks.product import run_product
from benchmarks.table import Row, medians, not_measured
from benchmarks.workplace import workplace
from mas_core.ops.bench.load import Load


async def measure(options: Options) -> list[Row]:
    """A row for each peer; one that cannot be run says why."""
    ratios: dict[Peer, list[float]] = {peer: [] for peer in PEERS}
    figures: dict[Peer, list[dict[str, float]]] = {peer: [] for peer in PEERS}
    failures: dict[Peer, str] = {}
    load = Load(count=options.count(60_000, 1000), concurrency=1000)
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(workplace(profile=options.profile))
        sender, receiver = place.names_in(0, 2)
        await place.set_policy([(sender, receiver)])
        nats_url = ""
        try:
            nats_url = await stack.enter_async_context(nats())
        except (NotInstalled, ProcessFailed) as reason:
            failures |= {peer: str(reason) for peer in PEERS if peer.is_nats}
        for _ in range(options.rounds):
            ours = await run_product(place, [(sender, receiver)], load)
            for peer in PEERS:
                if peer in failures:
                    continue
                try:
                    url = nats_url if peer.is_nats else place.url
                    theirs = await run_peer(peer, url, options.count(peer.count, 300))
                except (NotInstalled, ProcessFailed) as reason:
                    failures[peer] = str(reason)
                    continue
                ratios[peer].append(ours.result.rate_per_s / theirs.rate_per_s)
                figures[peer].append({"mas/s": ours.result.rate_per_s, "peer/s": theirs.rate_per_s})
    return [
        not_measured(f"against {peer.name}", _target(peer), failures[peer])
        if peer in failures
        else Row(
            f"against {peer.name}",
            _target(peer),
            ratios[peer],
            at_least=peer.at_least,
            figures=medians(figures[peer]),
        )
        for peer in PEERS
    ]


def _target(peer: Peer) -> str:
    return f"at least {peer.at_least:g} times"
