"""Partitions: look at them, and change how many there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from mas_core.errors import Conflict, UsageError
from mas_core.ops.layout_change import LayoutChange
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.store.keys import MAX_PARTITIONS, Layout
from mas_core.store.moves import belongs

__all__ = ["LayoutPlan", "PartitionRow", "PartitionsStatus", "list_partitions", "plan", "set_partitions"]

LET_GO_SECONDS = 10.0
"""How long gateways may take to finish their batches before the partitions are taken away from them."""
OWNED_SECONDS = 10.0
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition."""

    partition: int
    state: str
    """open, closed while their number is being changed, or retired: only its audit is of use."""
    owner: str
    epoch: int
    agents: int
    waiting_frames: int
    audit_records: int


@dataclass(frozen=True, slots=True)
class PartitionsStatus:
    """The layout in force, and its partitions."""

    layout: Layout
    rows: list[PartitionRow]


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """What a change would do."""

    before: Layout
    after: Layout
    agents: int
    moving: int
    """Agents that would move to another partition."""
    messages: int
    """Messages in their inboxes."""
    gateways: int
    """Gateways that would stop taking messages meanwhile."""

    @property
    def is_change(self) -> bool:
        """Whether anything would be different, or a change is half done."""
        return bool(self.before.next) or self.before.partitions != self.after.partitions


async def list_partitions(system: System) -> PartitionsStatus:
    """All partitions that there are and were.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    layout = await system.store.layouts.read()
    records = system.store.records
    metas = await records.metas()
    rows = []
    for number, meta in enumerate(metas):
        state = "closed" if layout.next else "open" if number < layout.partitions else "retired"
        rows.append(
            PartitionRow(
                number,
                state,
                meta.get("owner", b"").decode(errors="replace"),
                int(meta.get("epoch", b"0") or 0),
                len(await records.agent_ids(number)),
                await records.waiting_frames_of(number),
                int(meta.get("audit_seq", b"0") or 0),
            )
        )
    return PartitionsStatus(layout, rows)


async def plan(system: System, partitions: int) -> LayoutPlan:
    """What it would take to have so many partitions; changes nothing.

    Raises:
        UsageError: There cannot be so many.
        Conflict: Another change is half done.
    """
    if not 1 <= partitions <= MAX_PARTITIONS:
        raise UsageError(f"there can be 1 to {MAX_PARTITIONS} partitions, not {partitions}")
    if system.store.connection.is_memory:
        raise UsageError("a store in memory has one partition")
    before = await system.store.layouts.read()
    if before.next and before.next != partitions:
        raise Conflict(
            f"a change to {before.next} partitions was begun and not ended",
            hint=f"mas partitions set {before.next}",
        )
    after = Layout(before.number + 1, partitions, max(before.width, partitions))
    agent_ids = await system.store.records.agent_ids()
    moving = [name for name in agent_ids if belongs(name, before) != belongs(name, after)]
    backlogs = [] if before.next else await system.store.records.backlogs(moving)
    return LayoutPlan(before, after, len(agent_ids), len(moving), sum(backlogs), len(await system.gateways()))


async def set_partitions(
    system: System, partitions: int, on_step: Callable[[str], None] = lambda _text: None
) -> LayoutPlan:
    """Change the number of partitions, or finish such a change; in force when this returns.

    All gateways finish what they have in hand and let go, what belongs elsewhere is moved, and the new layout is
    opened. Agents and senders find it by themselves; what they send meanwhile waits with them. A change that was
    cut short is finished by the same call.

    Args:
        system: The system.
        partitions: How many there should be.
        on_step: Told in words what is done.

    Returns:
        What was done.

    Raises:
        UsageError: There cannot be so many.
        Conflict: Another change is half done, or messages wait for approval by agents that would move.
        AuditUnavailable: It cannot be recorded.
        StoreUnreachable: The server does not answer; the same call goes on where this one ended.
    """
    found = await plan(system, partitions)
    if not found.is_change:
        return found
    before, after = found.before, found.after
    change = LayoutChange(
        system.store.connection, system.keys, system.store.namespace, before, after, on_step
    )
    facts = {"from": before.partitions, "to": partitions, "layout": after.number, "agents": found.moving}
    with acting("partitions.set"):
        async with system.operator_log.writing("layout", change=facts, is_open=False):
            if not before.next:
                await change.check_approvals()
                await change.moves.begin(before, partitions)
                await system.store.gateways.tell_news()
                await _until_let_go(system)
            await change.moves.close(after.width)
            on_step("all partitions are closed")
            try:
                await change.carry_out()
            except Conflict:
                await change.moves.abandon(before)
                await system.store.gateways.tell_news()
                raise
            await change.moves.finish(after)
            await system.store.layouts.follow()
            await system.store.gateways.tell_news()
    on_step(f"layout {after.number} with {partitions} partitions is open")
    if found.gateways:
        await _until_owned(system)
    return found


async def _until_let_go(system: System) -> None:
    """Let batches in hand end with their receipts; a gateway that does not answer is not waited for."""
    deadline = time.monotonic() + LET_GO_SECONDS
    while time.monotonic() < deadline:
        metas = await system.store.records.metas()
        now = await system.store.connection.time_ms()
        if not any(meta.get("owner") and int(meta.get("lease", b"0") or 0) > now for meta in metas):
            return
        await asyncio.sleep(LOOK_S)


async def _until_owned(system: System) -> None:
    deadline = time.monotonic() + OWNED_SECONDS
    while time.monotonic() < deadline:
        if all(meta.get("owner") for meta in await system.store.records.metas()):
            return
        await asyncio.sleep(LOOK_S)
