"""`mas server`: what agents reach through gRPC under mutual TLS, instead of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system, target_of
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.output.run_reports import RunReport
from mas_cli.running import Lifetime, run_until_stopped
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, snapshot, watch_snapshots, watched
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.agent_servers import AgentServersStatus

LOG_FORMATS = ("json", "text")

_COLUMNS = (
    Column("id", whole=True, style=lambda _: "name"),
    Column("state", whole=True, style=lambda state: "good" if state == "serving" else "warn"),
    Column("address", whole=True),
    Column("up", kind="duration"),
    Column("agents", kind="number"),
    Column("refused", kind="number"),
    Column("certificate_ends", header="cert ends", kind="age"),
    Column("alarms", flexible=True, usual=[]),
)


def run(
    call: Invocation,
    *,
    server_id: Annotated[
        str, typer.Option("--id", metavar="NAME", help="Its name; made up if left out.")
    ] = "",
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Where it listens; server_listen_addr of mas.yaml if left out."
        ),
    ] = "",
    log_format: Annotated[
        str, typer.Option(metavar="json|text", help="Of the log on standard error.")
    ] = "json",
    drain: Annotated[
        str, typer.Option(metavar="DUR", help="How long calls in hand may take at the end.")
    ] = "5s",
    only_check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only find out whether it could run: address, certificate, keys, store."
        ),
    ] = False,
) -> ExitCode:
    """Run one server of agents in the foreground; several can share a system, each with its own address.

    Agents show a certificate, and reach nothing but what is theirs; none of them holds a password of the store.
    Where it listens and its certificate stand in mas.yaml, else it is 127.0.0.1:7443 and what mas cert issue
    --for server made. New certificates count without a restart. Logs are JSON lines on standard error;
    `--output jsonl` writes what happens to standard output. Ctrl-C or SIGTERM sends agents away, who connect to
    another server or wait for this one; a second one ends it at once.
    --timeout says how long it may take until it listens (30 s).
    """
    from mas_core.ops import agent_servers
    from mas_core.ops.program import log_to_stderr

    target = target_of(call.flags)
    seconds = call.flags.timeout_seconds() or agent_servers.START_SECONDS
    drain_s = parse_duration(drain, "--drain")
    if log_format not in LOG_FORMATS:
        raise UsageError(f"--log-format: {log_format!r} is none of {', '.join(LOG_FORMATS)}")
    if only_check:
        found = run_until_stopped(
            call,
            lambda _: agent_servers.check_agent_server(target, server_id=server_id, listen=listen),
            seconds,
        )
        call.out.records(_COLUMNS, _records(found))
        call.talk.say(f"a server can run here, beside {len(found.servers)} others")
        return ExitCode.OK
    report = RunReport(call)
    with agent_servers.grpc_log() as log:
        agent_servers.require_grpc()
        log_to_stderr(as_text=log_format == "text")

        async def work(lifetime: Lifetime) -> None:
            report.lead(lifetime)
            await agent_servers.run_agent_server(
                target,
                lifetime.stop,
                report,
                server_id=server_id,
                listen=listen,
                ready_within=seconds,
                drain_s=drain_s,
                log=log,
            )

        run_until_stopped(call, work, ends_at_second=True)
    return report.exit_code()


async def status(
    call: Invocation, *, watch: Watch = None, count: Count = None, duration: For = None, until: Until = None
) -> ExitCode:
    """Show the servers that run, and how many agents are connected; exit code 1 when something is wrong.

    So is it when none runs and agents need one. Refused counts who was not let in or had to leave since the
    server started; mas audit list --kind security says who and why.
    """
    how = watched(watch, count, duration, until)
    async with open_system(call) as system:
        from mas_core.ops.agent_servers import agent_servers_status

        found = await agent_servers_status(system)
        if how is not None:

            async def look() -> Snapshot:
                nonlocal found
                found = await agent_servers_status(system)
                return snapshot(Shown(_COLUMNS, _records(found), "id"), unsteady=frozenset({"up"}))

            await watch_snapshots(call, look, how)
            return _verdict(found)
    call.out.records(_COLUMNS, _records(found))
    if not found.servers:
        call.talk.say("no server of agents is running; start one with: mas server run")
    for alarm in found.alarms:
        call.talk.warn(alarm)
    return _verdict(found)


def _verdict(found: AgentServersStatus) -> ExitCode:
    is_missed = found.is_wanted and not found.servers
    return ExitCode.NO if is_missed or found.alarms else ExitCode.OK


def _records(found: AgentServersStatus) -> list[dict[str, object]]:
    return [
        {
            "id": server.server_id,
            "state": server.state,
            "address": server.address,
            "up": round((found.now - server.started) / 1000, 1),
            "agents": server.agents,
            "connections": server.connections,
            "refused": server.refused,
            "certificate_ends": moment(server.certificate_ends),
            "host": server.host,
            "pid": server.pid,
            "alarms": server.alarms(found.now),
        }
        for server in found.servers
    ]
