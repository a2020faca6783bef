"""`mas gateway`: run a gateway by itself, look at those that run, drain some."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system, target_of
from mas_cli.input.addresses import listen_address
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.run_reports import RunReport
from mas_cli.running import Lifetime, run_until_stopped
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, snapshot, watch_snapshots, watched
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.gateways import GatewaysStatus, GatewayStatus
    from mas_core.ops.system import System

LOG_FORMATS = ("json", "text")
TELLING_MESSAGES = 1000
"""With fewer messages, most of the processor time went into the start."""

_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("state", style=lambda state: "good" if state == "serving" else "warn"),
    Column("up", kind="duration"),
    Column("partitions", header="owns partition"),
    Column("messages", kind="number"),
    Column("in_s", header="in/s", kind="number"),
    Column("refused_s", header="refused/s", kind="number"),
    Column("p95_ms", header="p95 ms", kind="number"),
    Column("lag", kind="duration"),
    Column("stages_on", header="stages on", flexible=True),
    Column("cpu_us_per_message", header="us/message", kind="number"),
    Column("host", flexible=True),
    Column("pid", kind="number"),
    Column("alarms", flexible=True, usual=[]),
)
_CHANGED_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("state"),
    Column("partitions", header="owns partition"),
    Column("host", flexible=True),
    Column("change"),
)

_STAGE_COLUMNS = (
    Column("stage", style=lambda _: "name"),
    Column("share", kind="number"),
    Column("p50_us", kind="number"),
    Column("p95_us", kind="number"),
    Column("us_per_message", kind="number"),
)
PLAIN_WIDTH = 100
"""Columns of bars that go to a file."""

GatewayIds = Annotated[
    list[str] | None, typer.Argument(metavar="GATEWAY", help="Names, as mas gateway status shows them.")
]
Hosts = Annotated[
    list[str] | None, typer.Option("--host", metavar="HOST", help="All that run on this host; repeatable.")
]
Everyone = Annotated[bool, typer.Option("--all", help="All gateways.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and tell what would be changed.")]


def run(
    call: Invocation,
    *,
    gateway_id: Annotated[
        str, typer.Option("--id", metavar="NAME", help="Its name; made up if left out.")
    ] = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on although the server cannot keep what the profile promises."),
    ] = False,
    health: Annotated[
        str,
        typer.Option(
            "--health",
            "--metrics",
            metavar="ADDR",
            help="Port or host:port for /health and /metrics; as in mas.yaml if left out.",
        ),
    ] = "",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="--health: let other machines ask, without a password.")
    ] = False,
    log_format: Annotated[
        str, typer.Option(metavar="json|text", help="Of the log on standard error.")
    ] = "json",
    drain: Annotated[
        str, typer.Option(metavar="DUR", help="How long it may finish what it has in hand.")
    ] = "8s",
    only_check: Annotated[
        bool,
        typer.Option("--check", help="Only find out whether it could run: settings, keys, server, name."),
    ] = False,
) -> ExitCode:
    """Run one gateway in the foreground; several share the partitions of a system.

    When one is killed, the others take its partitions over within 2 seconds. Logs are JSON lines on standard
    error; `--output jsonl` writes what happens to standard output. Ctrl-C or SIGTERM finishes the batches in
    hand and hands its partitions over, a second one ends it at once. What --drain cuts short is judged anew by
    the next owner, and the exit code is 8.
    --timeout says how long it may take to get ready (60 s).
    """
    from mas_core.ops.gateways import START_SECONDS, check_gateway, run_gateway
    from mas_core.ops.program import log_to_stderr

    address = listen_address(health, "--health", allow_remote=allow_remote)
    target = target_of(call.flags)
    seconds = call.flags.timeout_seconds() or START_SECONDS
    drain_s = parse_duration(drain, "--drain")
    if log_format not in LOG_FORMATS:
        raise UsageError(f"--log-format: {log_format!r} is none of {', '.join(LOG_FORMATS)}")
    if only_check:
        found = run_until_stopped(
            call, lambda _: check_gateway(target, gateway_id=gateway_id, force=force), seconds
        )
        call.out.records(_COLUMNS, _records(found))
        call.talk.say(f"a gateway can run here, beside {len(found.gateways)} others")
        return ExitCode.OK
    report = RunReport(call)
    log_to_stderr(as_text=log_format == "text")

    async def work(lifetime: Lifetime) -> bool:
        report.lead(lifetime)
        return await run_gateway(
            target,
            lifetime.stop,
            report,
            gateway_id=gateway_id,
            ready_within=seconds,
            force=force,
            health=address,
            drain_s=drain_s,
        )

    return report.exit_code(drained=run_until_stopped(call, work, ends_at_second=True))


async def status(
    call: Invocation,
    *,
    stages: Annotated[
        bool, typer.Option("--stages", help="Show instead what each stage took lately, from the audit.")
    ] = False,
    watch: Watch = None,
    count: Count = None,
    duration: For = None,
    until: Until = None,
) -> ExitCode:
    """Show the gateways that run; exit code 1 when messages are not taken or something is wrong.

    Rates are of the last 10 seconds; p95 is how long 95 of 100 of the last 1,000 messages lay before they were
    judged; lag is how long the oldest that is not judged yet has waited; stages on are the checks that the policy
    wants, beside those that every message passes. With --watch the exit code is that of the last look.
    """
    how = watched(watch, count, duration, until)
    if stages and how is not None:
        raise UsageError("--stages is one look", hint="mas gateway status --stages")
    async with open_system(call) as system:
        if stages:
            return await _show_stages(call, system)
        from mas_core.ops.gateways import gateways_status

        found = await gateways_status(system)
        if how is not None:

            async def look() -> Snapshot:
                nonlocal found
                found = await gateways_status(system)
                return snapshot(Shown(_COLUMNS, _records(found), "id"), unsteady=frozenset({"up", "lag"}))

            await watch_snapshots(call, look, how)
            return _verdict(found)
    call.out.records(_COLUMNS, _records(found))
    if not found.gateways:
        call.talk.say("no gateway is running, messages wait; start one with: mas gateway run")
    alarms = dict.fromkeys(alarm for gateway in found.gateways for alarm in gateway.alarms)
    for alarm in alarms:
        call.talk.warn(alarm)
    if found.gateways and found.unowned:
        numbers = ", ".join(map(str, found.unowned))
        call.talk.say(f"no gateway has partition {numbers} yet; look again in 2 seconds")
    return _verdict(found)


def _verdict(found: GatewaysStatus) -> ExitCode:
    is_well = found.gateways and not found.unowned and not any(item.alarms for item in found.gateways)
    return ExitCode.OK if is_well else ExitCode.NO


async def _show_stages(call: Invocation, system: System) -> ExitCode:
    from mas_core.ops.stage_times import stage_times

    found = await stage_times(system)
    if call.out.format is Format.TABLE and call.out.options.columns is None:
        from mas_cli.output.stage_bars import stage_lines
        from mas_cli.output.trace_lines import painted

        for line in stage_lines(found, call.out.options.width or PLAIN_WIDTH):
            call.out.write(painted(line, call.out.options.palette) + "\n")
    else:
        rows: list[Record] = [
            {
                "stage": item.stage,
                "share": round(item.share, 4),
                "p50_us": item.p50_us,
                "p95_us": item.p95_us,
                "us_per_message": item.us_per_message,
            }
            for item in found.stages
        ]
        call.out.records(_STAGE_COLUMNS, rows)
    return ExitCode.OK


async def drain(
    call: Invocation,
    gateway_ids: GatewayIds = None,
    *,
    hosts: Hosts = None,
    everyone: Everyone = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when they own no partition any more.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also the last one; messages wait until one resumes.")
    ] = False,
    dry_run: DryRun = False,
) -> ExitCode:
    """Let gateways give up their partitions and take none, such as before their host is stopped.

    They go on running. The order belongs to the name: a gateway that starts again under the same --id owns
    nothing until it is resumed. --timeout is how long --wait waits, 60s if left out.
    """
    seconds = call.flags.timeout_seconds()
    async with open_system(call) as system:
        from mas_core.ops import gateways

        names = await gateways.select_gateways(
            system, gateway_ids or (), hosts=hosts or (), everyone=everyone
        )
        if dry_run:
            await gateways.check_drain(system, names, force=force)
            found = [item for item in await system.gateways() if item.gateway_id in names]
        else:
            limit = (seconds or gateways.DRAINED_WITHIN_S) if wait else None
            found = await gateways.drain_gateways(system, names, reason=call.reason, force=force, wait=limit)
    _show_change(call, names, found, "would drain" if dry_run else "drain")
    if not dry_run:
        call.talk.say(f"undo with: mas gateway resume {shlex.join(names)}")
    return ExitCode.OK


async def resume(
    call: Invocation,
    gateway_ids: GatewayIds = None,
    *,
    hosts: Hosts = None,
    everyone: Everyone = False,
    dry_run: DryRun = False,
) -> ExitCode:
    """Let drained gateways take their share of the partitions again; they do when it returns."""
    async with open_system(call) as system:
        from mas_core.ops import gateways

        names = await gateways.select_gateways(
            system, gateway_ids or (), hosts=hosts or (), everyone=everyone
        )
        if dry_run:
            found = [item for item in await system.gateways() if item.gateway_id in names]
        else:
            found = await gateways.resume_gateways(system, names)
    _show_change(call, names, found, "would resume" if dry_run else "resume")
    return ExitCode.OK


def _show_change(call: Invocation, names: list[str], found: list[GatewayStatus], change: str) -> None:
    running = {gateway.gateway_id: gateway for gateway in found}
    rows: list[Record] = []
    for name in names:
        gateway = running.get(name)
        rows.append(
            {
                "id": name,
                "state": gateway.state if gateway else "not running",
                "partitions": list(gateway.partitions) if gateway else [],
                "host": gateway.host if gateway else None,
                "change": change,
            }
        )
    call.out.records(_CHANGED_COLUMNS, rows)


def _records(found: GatewaysStatus) -> list[dict[str, object]]:
    return [
        {
            "id": gateway.gateway_id,
            "state": gateway.state,
            "up": round((found.now - gateway.started) / 1000, 1),
            "partitions": list(gateway.partitions),
            "messages": gateway.messages,
            "in_s": gateway.in_s,
            "refused_s": gateway.refused_s,
            "p95_ms": gateway.p95_ms,
            "lag": found.lags_s.get(gateway.gateway_id),
            "stages_on": list(gateway.stages_on),
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
