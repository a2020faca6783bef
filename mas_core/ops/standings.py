"""The operator's hand on single agents: pause, drain, quarantine, evict, resume.

Each change is one revision of the policy, so the gateways follow it from their next commit on. What the running
instances have to do themselves is waited for, and told as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from mas_core.base.ids import partition_of
from mas_core.errors import KeyNotFound, UsageError
from mas_core.model.policy import PolicyDocument
from mas_core.model.standing import ACTIVE, Standing, StandingKind
from mas_core.ops.agents import require_agents, revoke_token
from mas_core.ops.system import System
from mas_core.registry.operator_log import named

WAIT_S = 10.0
"""How long instances may take to follow."""
DRAIN_WAIT_S = 60.0
"""How long an agent that is drained may take to finish what it has."""
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class StandingReport:
    """What became of one agent."""

    agent_id: str
    standing: StandingKind
    before: StandingKind
    instances: int
    """Instances that run."""
    following: int
    """Instances that have confirmed that they follow."""
    in_hand: int
    """Messages that its instances had read and not settled, by their last heartbeat."""
    backlog: int
    """Messages delivered and not settled, or waiting for another attempt."""
    is_done: bool
    """Whether everything is as the operator wants it."""
    problem: str = ""
    """What is not, in words."""


@named("standing.{kind}", "agent_ids")
async def set_standing(
    system: System,
    agent_ids: Sequence[str],
    kind: StandingKind,
    *,
    reason: str = "",
    wait: float | None = None,
) -> list[StandingReport]:
    """Give agents a standing; the gateways follow it when this returns, and the instances as far as it tells.

    Args:
        system: The system.
        agent_ids: Whose standing; all are changed at once.
        kind: `active` takes back what was said before.
        reason: Why, in words; kept with the standing and in the policy's history.
        wait: Seconds that instances may take; by default 10, and 60 to finish what a drained agent has.

    Raises:
        AgentNotFound: One of them is not registered; nothing is changed.
        UsageError: No agent is named.
    """
    names = list(dict.fromkeys(agent_ids))
    if not names:
        raise UsageError("no agent is named", hint="mas agent list")
    await require_agents(system, *names)
    now = await system.store.connection.time_ms()
    before = await system.policy.load() or PolicyDocument()
    standing = Standing(kind, reason, system.actor, now)
    await system.policy.change(lambda document: _with_standing(document, names, standing))
    seconds = wait if wait is not None else DRAIN_WAIT_S if kind == "draining" else WAIT_S
    deadline = time.monotonic() + seconds
    reports: dict[str, StandingReport] = {}
    while True:
        waiting = [name for name in names if name not in reports or not reports[name].is_done]
        for name in waiting:
            reports[name] = await _look(system, name, kind, before.standing_of(name))
        if all(report.is_done for report in reports.values()) or time.monotonic() >= deadline:
            break
        await asyncio.sleep(min(_LOOK_AGAIN_S, max(0.0, deadline - time.monotonic())))
    if kind == "evicted":
        for name in names:
            await _revoke_all(system, name)
    return [reports[name] for name in names]


def _with_standing(document: PolicyDocument, names: Sequence[str], standing: Standing) -> PolicyDocument:
    standings = dict(document.standings)
    for name in names:
        if standing.kind == ACTIVE:
            standings.pop(name, None)
        elif document.standings.get(name, Standing(ACTIVE)).kind != standing.kind or standing.reason:
            standings[name] = standing
    if standings == document.standings:
        return document
    why = f": {standing.reason}" if standing.reason else ""
    return msgspec.structs.replace(
        document,
        standings=standings,
        changed_by=standing.by,
        changed_at=standing.since,
        change=f"{standing.kind}: {', '.join(names)}{why}",
    )


async def _look(system: System, agent_id: str, kind: StandingKind, before: StandingKind) -> StandingReport:
    entry = await system.registry.get(agent_id)
    now = await system.store.connection.time_ms()
    running = entry.running(now)
    following = sum(item.standing == kind for item in running)
    (backlog,) = await system.store.records.backlogs([agent_id])
    partition = partition_of(agent_id, system.store.partitions)
    backlog += await system.store.records.waiting_retries(partition, agent_id)
    problem = ""
    if kind == "evicted":
        if running:
            problem = f"{len(running)} of its instances have not ended"
    elif following < len(running):
        problem = f"{len(running) - following} of its {len(running)} instances have not confirmed it"
    elif kind == "draining" and backlog:
        problem = f"{backlog} of its messages are not finished"
        if not running:
            problem += ", and no instance runs that could"
    if problem and running and not await system.gateways():
        problem += ": no gateway is running that could tell them"
    return StandingReport(
        agent_id,
        kind,
        before,
        len(running),
        following,
        sum(item.in_hand for item in running),
        backlog,
        not problem,
        problem,
    )


async def _revoke_all(system: System, agent_id: str) -> None:
    try:
        await revoke_token(system, agent_id)
    except KeyNotFound:
        # It had none that counts.
        return
