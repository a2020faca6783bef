"""`mas status`: what runs, and what is not as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.moments import moment
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, watch_snapshots, watched

if TYPE_CHECKING:
    from mas_core.ops.status import SystemStatus
    from mas_core.ops.system import System


def _coloured(status: object) -> Style | None:
    return {"running": "good", "stopped": "dim"}.get(str(status), "warn")  # type: ignore[return-value]


_COLUMNS = (
    Column("name"),
    Column("profile"),
    Column("server.shown", header="server"),
    Column("gateways_shown", header="gateways"),
    Column("servers_shown", header="agents through"),
    Column("rules"),
    Column("waiting_frames"),
    Column("backlog"),
    Column("dead_letters"),
    Column("audit_records"),
)
_AGENT_COLUMNS = (
    Column("id", header="agent", style=lambda _: "name"),
    Column("status", style=_coloured),
    Column("capabilities", flexible=True),
    Column("instances", kind="number"),
    Column("load", kind="number"),
    Column("backlog", kind="number"),
    Column("last_seen", kind="age"),
)


_PROBLEM_COLUMNS = (
    Column("message", header="problem", flexible=True, style=lambda _: "warn"),
    Column("fix", header="try", whole=True),
)


async def status(
    call: Invocation, *, watch: Watch = None, count: Count = None, duration: For = None, until: Until = None
) -> ExitCode:
    """Show what runs: profile, server, gateways, agents, backlog, and what needs attention.

    Exit code 0 also when something needs attention, 3 when nothing runs.
    """
    how = watched(watch, count, duration, until)
    async with open_system(call) as system:
        from mas_core.ops.status import status as system_status

        if how is not None:
            await watch_snapshots(call, lambda: _snapshot(system), how)
            return ExitCode.OK
        found = await system_status(system)
    record = _record(found)
    if call.out.format is not Format.TABLE or call.out.options.columns is not None:
        call.out.record(_COLUMNS, record)
        return ExitCode.OK
    call.out.record(_COLUMNS, _for_people(found, record))
    if found.agents:
        call.out.write("\n")
        call.out.records(_AGENT_COLUMNS, _agents(found))
    if found.problems:
        call.out.write("\n")
        call.out.records(_PROBLEM_COLUMNS, _problems(found))
    return ExitCode.OK


async def _snapshot(system: System) -> Snapshot:
    from mas_core.ops.status import status as system_status

    found = await system_status(system)
    record = _record(found)
    tables = (
        Shown(_COLUMNS, [_for_people(found, record)], is_single=True),
        Shown(_AGENT_COLUMNS, _agents(found), "id"),
        Shown(_PROBLEM_COLUMNS, _problems(found), "message"),
    )
    return Snapshot(tables, Shown(_COLUMNS, [record], is_single=True), frozenset({"last_seen"}))


def _for_people(found: SystemStatus, record: Record) -> Record:
    return {
        **record,
        "server.shown": _server(found),
        "gateways_shown": _gateways(found),
        "servers_shown": _servers(found),
    }


def _record(found: SystemStatus) -> dict[str, object]:
    server = found.server
    return {
        "name": found.name,
        "profile": found.profile,
        "server": {
            "url": server.url,
            "embedded": server.is_embedded,
            "name": server.name,
            "version": server.version,
            "append_only": server.append_only,
            "memory_bytes": server.memory_bytes,
            "nodes": [
                {
                    "place": node.place or None,
                    "version": node.version,
                    "append_only": node.append_only,
                    "replicas": node.replicas,
                }
                for node in server.nodes
            ],
        },
        "gateways": [
            {
                "id": gateway.gateway_id,
                "state": gateway.state,
                "partitions": list(gateway.partitions),
                "messages": gateway.messages,
            }
            for gateway in found.gateways
        ],
        "servers": [
            {
                "id": server.server_id,
                "state": server.state,
                "address": server.address,
                "agents": server.agents,
                "certificate_ends": moment(server.certificate_ends),
            }
            for server in found.servers
        ],
        "notaries": [
            {
                "id": notary.notary_id,
                "folder": notary.folder,
                "records": sum(item.records for item in notary.partitions),
                "signed": sum(item.signed for item in notary.partitions),
                "alarms": notary.alarms,
            }
            for notary in found.notaries
        ],
        "partitions": [
            {
                "partition": partition.partition,
                "owner": partition.owner or None,
                "epoch": partition.epoch,
                "audit_records": partition.audit_records,
            }
            for partition in found.partitions
        ],
        "agents": _agents(found),
        "policy_revision": found.policy_revision,
        "rules": found.rules,
        "waiting_frames": found.waiting_frames,
        "backlog": found.backlog,
        "dead_letters": found.dead_letters,
        "audit_records": sum(partition.audit_records for partition in found.partitions),
        "problems": _problems(found),
    }


def _agents(found: SystemStatus) -> list[dict[str, object]]:
    return [
        {
            "id": agent.id,
            "status": agent.status,
            "capabilities": list(agent.capabilities),
            "instances": agent.instances,
            "load": agent.load,
            "backlog": agent.backlog,
            "last_seen": moment(agent.last_seen),
        }
        for agent in found.agents
    ]


def _problems(found: SystemStatus) -> list[dict[str, object]]:
    return [{"message": problem.message, "fix": problem.fix} for problem in found.problems]


def _server(found: SystemStatus) -> str:
    server = found.server
    where = "embedded" if server.is_embedded else server.url
    size = f"{server.memory_bytes / 1e6:.1f} MB"
    several = f", {len(server.nodes)} masters" if len(server.nodes) > 1 else ""
    return f"{where} {server.name} {server.version}{several}, appendfsync {server.append_only}, {size}"


def _gateways(found: SystemStatus) -> str:
    shown = [
        f"{gateway.gateway_id} ({gateway.state if gateway.is_draining else f'{gateway.messages} messages'})"
        for gateway in found.gateways
    ]
    return ", ".join(shown) or "none"


def _servers(found: SystemStatus) -> str:
    shown = (
        f"{server.address} ({'draining' if server.is_draining else _count(server.agents)})"
        for server in found.servers
    )
    return ", ".join(shown) or "none, direct"


def _count(agents: int) -> str:
    return "1 agent" if agents == 1 else f"{agents} agents"
