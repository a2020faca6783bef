"""Judges an observation: what moves is well, what waits and does not move is red, whatever its connection says.

Everything here is a function of the observation alone; each finding names since when, and what to type next.
"""

from __future__ import annotations

from collections.abc import Iterator

from mas_core.model.registration import InstanceStatus
from mas_core.ops.health.observation import AgentWork, Expectations, Observation
from mas_core.ops.health.report import HealthItem, HealthReport, report_of
from mas_core.ops.health.server_findings import server_items

LAG_WARN_MS = 250
LAG_RED_MS = 5_000
SILENT_MS = 45_000
"""An instance says something every 30 s; so long after its last word it is missed."""
PATIENCE = 10
"""So many times the limit may the oldest message wait while others move, until that is told."""
SIGNING_GRACE_MS = 15_000
"""How much later than its time a checkpoint may come; also how long a system may run without a notary."""


def judge(seen: Observation, expected: Expectations) -> HealthReport:
    """The health of a system at the moment of the observation."""
    items = [
        *server_items(seen, expected),
        *_partitions(seen, expected),
        *_gateways(seen),
        *_agents(seen, expected),
        *_runners(seen),
        *_agent_servers(seen, expected),
        *_audit(seen, expected),
    ]
    return report_of(items, seen.now)


def _partitions(seen: Observation, expected: Expectations) -> Iterator[HealthItem]:
    limit_ms = expected.settings.gateway_stuck_s * 1000
    for each in seen.partitions:
        name = f"partition {each.partition}"
        waits_since = max(each.moved, each.oldest)
        if each.lease < seen.now:
            waiting = f", and {_frames(each.waiting)}" if each.waiting else ""
            yield HealthItem(
                name, "red", f"no gateway has it{waiting}", "mas gateway run", each.lease, each.owner
            )
        elif each.waiting and seen.now - waits_since > limit_ms:
            yield HealthItem(
                name,
                "red",
                f"{_frames(each.waiting)}, and {each.owner} has taken none for "
                f"{_span(seen.now - waits_since)} although it keeps its lease",
                "mas gateway status",
                waits_since,
                each.owner,
            )
        else:
            moved = f", moved {_span(seen.now - each.moved)} ago" if each.moved else ""
            yield HealthItem(name, "ok", f"{each.owner} has it{moved}", process=each.owner)


def _gateways(seen: Observation) -> Iterator[HealthItem]:
    if not seen.gateways:
        yield HealthItem("gateways", "red", "none is running: messages wait", "mas gateway run")
    for gateway in seen.gateways:
        name, me = f"gateway {gateway.gateway_id}", gateway.gateway_id
        for alarm in gateway.alarms:
            yield HealthItem(name, "red", alarm, "mas gateway status", process=me)
        lag = _lag(name, gateway.loop_lag_ms, me)
        if lag is not None:
            yield lag
        if gateway.state != "serving":
            yield HealthItem(name, "warn", f"is {gateway.state}", f"mas gateway resume {me}", process=me)
        elif lag is None and not gateway.alarms:
            yield HealthItem(name, "ok", f"took {_count(gateway.messages, 'message')}", process=me)


def _agents(seen: Observation, expected: Expectations) -> Iterator[HealthItem]:
    if expected.problem:
        yield HealthItem("specs", "red", expected.problem, "mas agent validate")
    troubles: list[HealthItem] = []
    for agent in seen.agents:
        limit_s = expected.stuck_after_s.get(agent.progress.agent_id, expected.settings.agent_stuck_s)
        troubles += _agent(agent, seen.now, limit_s, is_expected=agent.progress.agent_id in expected.agents)
    registered = {agent.progress.agent_id for agent in seen.agents}
    troubles += [
        HealthItem(f"agent {agent_id}", "red", "is not registered", f"mas agent run {agent_id}")
        for agent_id in expected.agents
        if agent_id not in registered
    ]
    yield from troubles
    running = sum(bool(agent.running) for agent in seen.agents)
    waiting = sum(agent.progress.backlog for agent in seen.agents)
    yield HealthItem(
        "agents", "ok", f"{running} of {len(seen.agents)} run, with {_count(waiting, 'message')} to do"
    )


def _agent(agent: AgentWork, now: int, limit_s: float, *, is_expected: bool) -> Iterator[HealthItem]:
    work, name = agent.progress, f"agent {agent.progress.agent_id}"
    look = f"mas agent describe {work.agent_id}"
    if agent.standing is not None:
        because = f": {agent.standing.reason}" if agent.standing.reason else ""
        fix = f"mas agent resume {work.agent_id}"
        yield HealthItem(
            name, "warn", f"an operator says {agent.standing.kind}{because}", fix, agent.standing.since
        )
        return
    waiting_since = max(work.moved, work.oldest)
    if not agent.running:
        waits = f", and {_messages(work.backlog)}" if work.backlog else ""
        if is_expected or (work.backlog and now - waiting_since > limit_s * 1000):
            yield HealthItem(
                name,
                "red" if is_expected else "warn",
                f"no instance runs{waits}",
                f"mas agent run {work.agent_id}",
                work.oldest,
            )
        return
    silent = [item for item in agent.running if now - item.seen > SILENT_MS]
    for item in silent:
        yield _silent(name, item, work.in_hands.get(item.instance, 0), now, look)
    # What is there only since a moment has had no time to move.
    still_since = max(waiting_since, min(item.started for item in agent.running))
    if not work.backlog:
        return
    if now - still_since > limit_s * 1000:
        there = f"{len(agent.running)} connected instance{'s' if len(agent.running) > 1 else ''}"
        yield HealthItem(
            name,
            "red",
            f"{_messages(work.backlog)}, and none was settled for {_span(now - still_since)} by {there}",
            look,
            still_since,
        )
    elif work.oldest and now - work.oldest > PATIENCE * limit_s * 1000:
        yield HealthItem(
            name,
            "warn",
            f"{_messages(work.backlog)}, the oldest for {_span(now - work.oldest)}, while others are settled",
            look,
            work.oldest,
        )


def _silent(name: str, item: InstanceStatus, frames: int, now: int, fix: str) -> HealthItem:
    holds = f" and holds {frames} frame{'s' if frames > 1 else ''}" if frames else ""
    where = f" (pid {item.pid} on {item.host})" if item.pid else ""
    return HealthItem(
        name,
        "red" if frames else "warn",
        f"instance {item.instance}{where} has said nothing for {_span(now - item.seen)}{holds}",
        fix,
        item.seen,
    )


def _runners(seen: Observation) -> Iterator[HealthItem]:
    for runner in seen.runners:
        name, me = f"runner {runner.runner_id}", runner.runner_id
        for trouble in runner.troubles:
            if trouble.state == "starting":
                continue
            message = f"{trouble.agent_id} #{trouble.number}: {trouble.message or trouble.state}"
            gave_up = trouble.state == "gave_up"
            yield HealthItem(
                name,
                "red" if gave_up else "warn",
                f"{message}; {'it is not started again' if gave_up else 'it is started again soon'}",
                f"tail .mas/logs/{trouble.agent_id}-{trouble.number}.log",
                process=me,
            )
        lag = _lag(name, runner.loop_lag_ms, me)
        if lag is not None:
            yield lag
        elif all(trouble.state == "starting" for trouble in runner.troubles):
            yield HealthItem(name, "ok", f"looks after {_count(runner.instances, 'instance')}", process=me)


def _agent_servers(seen: Observation, expected: Expectations) -> Iterator[HealthItem]:
    if expected.wants_server and not seen.agent_servers:
        yield HealthItem("servers", "red", "none is running: agents behind it reach nobody", "mas server run")
    for server in seen.agent_servers:
        name, me = f"server {server.server_id}", server.server_id
        alarms = server.alarms(seen.now)
        fix = "mas cert rotate localhost --for server"
        for alarm in alarms:
            yield HealthItem(name, "red", alarm, fix, process=me)
        if not alarms and server.is_late(seen.now):
            left = _span(server.certificate_ends - seen.now)
            yield HealthItem(name, "warn", f"its certificate ends in {left}", fix, process=me)
        elif not alarms:
            reason = f"{_count(server.agents, 'agent')} through {server.address}"
            yield HealthItem(name, "ok", reason, process=me)
        lag = _lag(name, server.loop_lag_ms, me)
        if lag is not None:
            yield lag


def _lag(name: str, lag_ms: int, process: str) -> HealthItem | None:
    """The event loop of a process was late; what waits for it was, too."""
    if lag_ms < LAG_WARN_MS:
        return None
    return HealthItem(
        name,
        "red" if lag_ms >= LAG_RED_MS else "warn",
        f"something kept its event loop from running for {lag_ms} ms within the last seconds",
        "top",
        process=process,
    )


def _audit(seen: Observation, expected: Expectations) -> Iterator[HealthItem]:
    for notary in seen.notaries:
        name = f"notary {notary.notary_id}"
        for alarm in notary.alarms:
            yield HealthItem(name, "red", alarm, "mas audit notary status")
        if not notary.alarms:
            yield HealthItem(name, "ok", f"signs {_count(len(notary.partitions), 'partition')}")
    limit_ms = SIGNING_GRACE_MS + expected.checkpoint_s * 1000
    for item in seen.unsigned:
        if seen.now - item.recorded > limit_ms:
            yield HealthItem(
                f"audit {item.partition}",
                "red",
                f"record {item.seq} is not signed since {_span(seen.now - item.recorded)}",
                "mas audit notary status",
                item.recorded,
            )
    started = min((gateway.started for gateway in seen.gateways), default=seen.now)
    if expected.wants_notary and not seen.notaries and seen.now - started > SIGNING_GRACE_MS:
        yield HealthItem(
            "notaries",
            "red",
            "none is running: the audit is not signed outside of the server",
            "mas audit notary run",
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _frames(count: int) -> str:
    return "1 frame waits" if count == 1 else f"{count} frames wait"


def _messages(count: int) -> str:
    return "1 message waits" if count == 1 else f"{count} messages wait"


def _span(milliseconds: int) -> str:
    seconds = max(0, milliseconds) / 1000
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
