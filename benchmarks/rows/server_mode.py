"""Server mode: agents that come through gRPC under mutual TLS, beside the same over the store's unix socket."""

from __future__ import annotations

from benchmarks.baselines.grpc_echo import EchoLaunch, EchoReport
from benchmarks.options import Options
from benchmarks.processes import module, worker
from benchmarks.product import run_product
from benchmarks.table import Row, medians
from benchmarks.workplace import Front, workplace
from mas_core.ops.bench.figures import Spread, spread
from mas_core.ops.bench.load import Load

BURST = 100
FRAMES = Load(concurrency=16, burst=BURST)
RATE = 200.0
"""A second, where messages go one at a time: two hops more for each leave room for no more on a small machine."""
FRAME_BYTES = 30_000
"""About what a hundred messages of 300 bytes take."""


async def measure(options: Options) -> list[Row]:
    """How many go through in frames, and how long one takes."""
    count, alone = options.count(60_000, 1000), options.count(1500, 200)
    rates: list[float] = []
    ratios: list[float] = []
    figures: list[dict[str, float]] = []
    echoes: list[dict[str, float]] = []
    async with workplace(profile=options.profile) as place:
        front = await place.start_front()
        sender, receiver = place.names_in(0, 2)
        route = [(sender, receiver)]
        await place.set_policy(route)
        for _ in range(options.rounds):
            before = front.cpu_s()
            many = await run_product(
                place, route, Load(count=count, concurrency=FRAMES.concurrency, burst=BURST), through=front
            )
            used = front.cpu_s() - before
            direct = await run_product(place, route, Load(count=alone, rate=RATE))
            remote = await run_product(place, route, Load(count=alone, rate=RATE), through=front)
            rates.append(many.result.rate_per_s)
            ratios.append(remote.to_handler.p50_ms / direct.to_handler.p50_ms)
            figures.append(
                {
                    "gRPC server us": used / count * 1e6,
                    "gateway us": many.gateway_us,
                    "sender us": many.sender_us,
                    "receiver us": many.receiver_us,
                    "store us": many.server_us,
                    "messages a frame": many.messages_a_frame,
                    "lost": many.result.lost,
                    "twice": many.result.duplicated,
                }
            )
            frames = await _echo(
                front, sender, EchoLaunch("", 0, "", count // BURST, FRAME_BYTES, in_flight=16)
            )
            hop = await _echo(front, sender, EchoLaunch("", 0, "", alone, 400, rate=RATE))
            echoes.append(
                {
                    "bare gRPC echo of frames, messages/s": count / frames.seconds,
                    "bare gRPC echo p50 ms": _spread(hop).p50_ms,
                    "through the server p50 ms": remote.to_handler.p50_ms,
                    "over the unix socket p50 ms": direct.to_handler.p50_ms,
                }
            )
    return [
        Row(
            "server mode, frames with full policy",
            "at least 20,000 messages/s",
            rates,
            unit="/s",
            at_least=20_000,
            figures=medians(figures),
        ),
        Row(
            f"server mode, one message at a time, {RATE:.0f}/s: median",
            "at most 2.5 times the unix socket",
            ratios,
            at_most=2.5,
            figures=medians(echoes),
        ),
    ]


def _spread(report: EchoReport) -> Spread:
    return spread(report.times_ns)


async def _echo(front: Front, caller: str, launch: EchoLaunch) -> EchoReport:
    command = module("benchmarks.baselines.grpc_echo")
    async with worker("the echo", (*command, "serve", str(front.folder))) as server:
        port = int(await server.heard())
        made = EchoLaunch(
            str(front.folder),
            port,
            str(front.tls_of(caller).cert_path),
            launch.count,
            launch.size,
            launch.in_flight,
            launch.rate,
        )
        async with worker("the caller of the echo", (*command, "call"), made) as calling:
            return await calling.answered(EchoReport)
