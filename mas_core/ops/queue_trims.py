"""Trimming a queue: what waits in it becomes dead letters, oldest first. Nothing is dropped.

Here frames are taken in hand, so that no instance reads them, and orders are given; the gateway that owns the
partition moves their messages. What it does not move is taken over by the agent's instances after a minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from mas_core.base.ids import new_message_id, partition_of
from mas_core.errors import UsageError
from mas_core.model.dead_letter import due_purpose
from mas_core.model.priority import LANES
from mas_core.model.queue_order import TrimOrder, TrimOutcome, trim_name, trim_outcome_purpose
from mas_core.ops.queues import frame_count, require_agent
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.registry.signed import verified
from mas_core.security.seals import AtRest
from mas_core.store.queues import FIRST, NewTrim

MAX_NOTE = 500
_FRAMES_LOOKED_AT = 500
_FRAMES_AT_ONCE = 8
"""Frames that are ordered about together; a frame holds up to 64 messages, and all of them go into one commit."""
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class TrimPlan:
    """What would leave a queue."""

    agent_id: str
    messages: int
    stay: int
    """Messages that would still wait."""
    oldest: float | None
    """Seconds since the oldest of what would go was delivered; None when nothing would."""
    last: dict[str, str]
    """Lane -> the last of its frames that would go."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What has left a queue."""

    agent_id: str
    moved: int
    """Messages that are dead letters now."""
    left: int
    """Frames that were meant and stay."""
    problem: str = ""
    """Why the first of them stays."""


async def plan(
    system: System,
    agent_id: str,
    *,
    keep: int | None = None,
    older_s: float | None = None,
    lanes: Sequence[str] = LANES,
) -> TrimPlan:
    """What trimming would move: the oldest of what no instance has read, in whole frames.

    Args:
        system: The system.
        agent_id: Whose queue.
        keep: So many of the newest stay, and as many more as lie in a frame with them.
        older_s: Only what was delivered so many seconds ago or earlier.
        lanes: Only of these.

    Raises:
        AgentNotFound: There is no such agent.
        UsageError: Neither a number nor an age is given.
    """
    if keep is None and older_s is None:
        raise UsageError("how much is to stay?", hint=("--keep N", "--older DUR", "--keep 0 for nothing"))
    await require_agent(system, agent_id)
    now = await system.store.connection.time_ms()
    frames: list[tuple[tuple[int, int], str, str, int]] = []
    for lane in lanes:
        after = FIRST
        while page := await system.store.queues.waiting(
            agent_id, lane, after, _FRAMES_LOOKED_AT, bodies=False
        ):
            frames += [(_place(item.entry), lane, item.entry, frame_count(item.frame)) for item in page]
            after = page[-1].entry
    frames.sort()
    total = sum(count for *_, count in frames)
    may_go = total if keep is None else total - keep
    going, last = 0, {}
    for (delivered, _), lane, entry, count in frames:
        if going + count > may_go or (older_s is not None and delivered > now - older_s * 1000):
            break
        going += count
        last[lane] = entry
    oldest = max(0, now - frames[0][0][0]) / 1000 if going else None
    return TrimPlan(agent_id, going, total - going, oldest, last)


async def trim(system: System, planned: TrimPlan, *, note: str = "", wait_s: float = 5.0) -> Trimmed:
    """Move what was planned to the dead letters; what an instance has read since then is left to it.

    Args:
        system: The system.
        planned: From `plan`.
        note: Why, in words; it is kept in the audit. The reason that the operator gave if left out.
        wait_s: Seconds to wait for what becomes of each part.

    Raises:
        GatewayDown: Nobody would carry it out.
    """
    await system.require_gateway()
    moved, left, problem = 0, 0, ""
    change: dict[str, object] = {"agent": planned.agent_id, "planned": planned.messages}
    with acting("bus.trim", planned.agent_id, reason=note):
        async with system.operator_log.writing("queue", planned.agent_id, change=change) as noted:
            for lane, last in planned.last.items():
                after = FIRST
                while entries := await system.store.queues.take(
                    planned.agent_id, lane, after, last, _FRAMES_AT_ONCE
                ):
                    after = entries[-1]
                    for outcome in await _order(system, planned.agent_id, lane, entries, note, wait_s):
                        moved += outcome.moved
                        left += bool(outcome.reason)
                        problem = problem or outcome.reason
            noted.facts = {**change, "moved": moved, "frames_left": left}
    return Trimmed(planned.agent_id, moved, left, problem)


async def _order(
    system: System, agent_id: str, lane: str, entries: Sequence[str], note: str, wait_s: float
) -> list[TrimOutcome]:
    """Order what is to become of frames that were taken, and wait for what does."""
    now = await system.store.connection.time_ms()
    at_rest = AtRest(system.keys.at_rest_key)
    partition = partition_of(agent_id, system.store.partitions)
    why = (note or system.operator_log.operator.reason)[:MAX_NOTE]
    orders = []
    for entry in entries:
        order = TrimOrder(new_message_id(), system.actor, now, why)
        purpose = due_purpose(partition, trim_name(agent_id, lane, entry))
        orders.append(NewTrim(order.id, lane, entry, at_rest.seal(purpose, msgspec.msgpack.encode(order))))
    placed = await system.store.queues.order_trims(agent_id, orders)
    waiting = [order.id for order, is_placed in zip(orders, placed, strict=True) if is_placed]
    found: dict[str, TrimOutcome] = {}
    deadline = time.monotonic() + wait_s
    while left := [order_id for order_id in waiting if order_id not in found]:
        for order_id, text in zip(left, await system.store.queues.trim_outcomes(agent_id, left), strict=True):
            told = verified(system.keys, trim_outcome_purpose(order_id), text or b"")
            if told is not None:
                found[order_id] = msgspec.json.decode(told, type=TrimOutcome)
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(_POLL_S)
    late = TrimOutcome(reason="it is ordered, but no gateway has carried it out yet")
    gone = TrimOutcome(reason="an instance has taken it over meanwhile")
    return [
        found.get(order.id, late) if is_placed else gone
        for order, is_placed in zip(orders, placed, strict=True)
    ]


def _place(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)
