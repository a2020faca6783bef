"""Processor time of the gateway a message under load, with every stage on, and where it goes."""

from __future__ import annotations

import json
import statistics

import msgspec

from benchmarks.full_policy import can_sign
from benchmarks.options import Options
from benchmarks.product import ProductRun, run_product
from benchmarks.stage_profile import STAGES
from benchmarks.table import Row, medians, not_measured
from benchmarks.workplace import workplace
from mas_core.ops.bench.load import Load

TARGET_US = 8.0
LEAST_FRAME = 50
NAME = "gateway CPU a message, every stage on"
SIGNED = "the same with message signatures"


async def measure(options: Options) -> list[Row]:
    """The cost, that of signatures apart, and the profile by stage."""
    load = Load(count=options.count(60_000, 1000), concurrency=16, burst=100)
    async with workplace(profile=options.profile) as place:
        sender, receiver = place.names_in(0, 2)
        route = [(sender, receiver)]
        await place.set_policy(route)
        plain: list[ProductRun] = []
        signed: list[ProductRun] = []
        for _ in range(options.rounds):
            plain.append(await run_product(place, route, load))
            if can_sign():
                await place.set_policy(route, signing=True)
                signed.append(await run_product(place, route, load))
                await place.set_policy(route)
    cost = statistics.median(run.gateway_us for run in plain)
    rows = [
        Row(
            NAME,
            f"at most {TARGET_US:g} us",
            [run.gateway_us for run in plain],
            "us",
            at_most=TARGET_US,
            figures=medians([_figures(run) for run in plain]),
            note=""
            if min(run.messages_a_frame for run in plain) >= LEAST_FRAME
            else "frames were smaller than 50",
        )
    ]
    if signed:
        rows.append(
            Row(
                SIGNED,
                "",
                [run.gateway_us for run in signed],
                "us",
                figures={
                    "more for the gateway us": statistics.median(run.gateway_us for run in signed) - cost,
                    **medians([_figures(run) for run in signed]),
                },
            )
        )
    else:
        rows.append(not_measured(SIGNED, "", "this build has no message signatures"))
    rows.append(await _profile(msgspec.structs.replace(load, count=options.count(300_000, 1000)), options))
    return rows


def _figures(run: ProductRun) -> dict[str, float]:
    return {
        "messages a frame": run.messages_a_frame,
        "decisions a message": run.judged,
        "sender us": run.sender_us,
        "receiver us": run.receiver_us,
        "server us": run.server_us,
    }


async def _profile(load: Load, options: Options) -> Row:
    """A run of its own, under the profiler: share of the samples times the cost of a message."""
    async with workplace(gateways=0, profile=options.profile) as place:
        path = place.folder / "profile.json"
        gateway = await place.start_gateway(BENCH_STAGE_PROFILE=str(path))
        sender, receiver = place.names_in(0, 2)
        await place.set_policy([(sender, receiver)])
        run = await run_product(place, [(sender, receiver)], load)
        if gateway.process.stdin is not None:
            gateway.process.stdin.close()
        await gateway.process.wait()
        found = json.loads(path.read_text())
    total = max(1, sum(found["samples"].values()))
    by_stage = {name: run.gateway_us * count / total for name, count in found["samples"].items()}
    ordered = {name: by_stage.pop(name) for name in STAGES if name in by_stage} | by_stage
    places = ", ".join(f"{name} {100 * count / total:.1f} %" for name, count in found["places"][:12])
    return Row(
        "of it, us by stage (under the profiler)", "", [run.gateway_us], "us", figures=ordered, note=places
    )
