"""`mas bench`: measure a running system, with everything on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.progress import Progress
from mas_cli.running import Lifetime, run_until_stopped

_COLUMNS = (
    *(Column(name) for name in ("sent", "handled", "refused", "lost", "duplicated")),
    *(Column(name, kind="number") for name in ("rate_per_s", "p50_ms", "p95_ms", "p99_ms")),
    Column("gateway_cpu_us_per_message", header="gateway us/message"),
)


def send(
    call: Invocation,
    *,
    messages: Annotated[int, typer.Option(metavar="N", help="How many to send.")] = 10_000,
    size: Annotated[int, typer.Option(metavar="BYTES", help="Size of each payload, about.")] = 300,
    rate: Annotated[float, typer.Option(metavar="N", help="Messages a second; 0 for as many as go.")] = 0,
    concurrency: Annotated[
        int, typer.Option(metavar="N", help="Messages whose receipt is waited for at the same time.")
    ] = 1024,
) -> ExitCode:
    """Send messages through the gateway to an agent made for it, and count and time every one.

    Times are from `send` until the handler has started and the receipt is back. Policy, scan and audit are
    on; two agents and a rule are made for the run and removed after it. Exit code 1 when messages were lost,
    handled twice or refused.
    """

    async def work(lifetime: Lifetime) -> bool:
        from mas_core.ops import bench

        async with open_system(call) as system:
            with Progress(call.talk, messages, "messages") as progress:
                result = await bench.send(
                    system,
                    messages=messages,
                    size=size,
                    rate=rate,
                    concurrency=concurrency,
                    on_progress=progress,
                )
        lifetime.is_ready = True
        call.out.record(_COLUMNS, asdict(result))
        return result.handled == result.sent and not result.duplicated

    return ExitCode.OK if run_until_stopped(call, work, call.flags.timeout_seconds()) else ExitCode.NO
