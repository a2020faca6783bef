"""`mas gateway`: run a gateway by itself, look at those that run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system, writable_target
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.run_reports import RunReport
from mas_cli.running import Lifetime, run_until_stopped

if TYPE_CHECKING:
    from mas_core.ops.gateways import GatewaysStatus, GatewayStatus

TELLING_MESSAGES = 1000
"""With fewer messages, most of the processor time went into the start."""

_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("up", kind="duration"),
    Column("partitions", header="owns partition"),
    Column("messages", kind="number"),
    Column("cpu_us_per_message", header="us/message", kind="number"),
    Column("host", flexible=True),
    Column("pid", kind="number"),
    Column("alarms", flexible=True, usual=[]),
)


def run(
    call: Invocation,
    *,
    gateway_id: Annotated[
        str, typer.Option("--id", metavar="NAME", help="Its name; made up if left out.")
    ] = "",
) -> ExitCode:
    """Run one gateway in the foreground; several share the partitions of a system.

    When one is killed, the others take its partitions over within 2 seconds. Logs are JSON lines on standard
    error; `--output jsonl` writes what happens to standard output. Ctrl-C finishes the batches in hand.
    --timeout says how long it may take to get ready (60 s).
    """
    from mas_core.ops.gateways import START_SECONDS, run_gateway
    from mas_core.ops.program import log_to_stderr

    target = writable_target(call)
    seconds = call.flags.timeout_seconds() or START_SECONDS
    report = RunReport(call)
    log_to_stderr()

    async def work(lifetime: Lifetime) -> None:
        report.lead(lifetime)
        await run_gateway(target, lifetime.stop, report, gateway_id=gateway_id, ready_within=seconds)

    run_until_stopped(call, work)
    return report.exit_code()


async def status(call: Invocation) -> ExitCode:
    """Show the gateways that run; exit code 1 when messages are not taken or something is wrong."""
    async with open_system(call) as system:
        from mas_core.ops.gateways import gateways_status

        found = await gateways_status(system)
    call.out.records(_COLUMNS, _records(found))
    if not found.gateways:
        call.talk.say("no gateway is running, messages wait; start one with: mas gateway run")
        return ExitCode.NO
    alarms = dict.fromkeys(alarm for gateway in found.gateways for alarm in gateway.alarms)
    for alarm in alarms:
        call.talk.warn(alarm)
    if found.unowned:
        numbers = ", ".join(map(str, found.unowned))
        call.talk.say(f"no gateway has partition {numbers} yet; look again in 2 seconds")
        return ExitCode.NO
    return ExitCode.NO if alarms else ExitCode.OK


def _records(found: GatewaysStatus) -> list[dict[str, object]]:
    return [
        {
            "id": gateway.gateway_id,
            "up": round((found.now - gateway.started) / 1000, 1),
            "partitions": list(gateway.partitions),
            "messages": gateway.messages,
            "cpu_us_per_message": _cpu_us(gateway),
            "host": gateway.host,
            "pid": gateway.pid,
            "alarms": list(gateway.alarms),
        }
        for gateway in found.gateways
    ]


def _cpu_us(gateway: GatewayStatus) -> float | None:
    if gateway.messages < TELLING_MESSAGES:
        return None
    return round(gateway.cpu_s / gateway.messages * 1e6, 1)
