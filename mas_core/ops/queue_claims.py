"""Taking from instances what they have had in hand for long, so that others take it over.

Instances take over by themselves from those that died; here is what an operator can do about one that lives and
hangs. No message is made, moved or decided: only in whose hands it is changes.
"""

from __future__ import annotations

from collections import Counter

from mas_core.errors import Conflict
from mas_core.model.priority import LANES
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting


async def release(
    system: System, agent_id: str, idle_s: float, *, dry_run: bool = False, note: str = ""
) -> dict[str, int]:
    """Take frames from instances that have had them in hand for so long; the other instances take them over.

    Args:
        system: The system.
        agent_id: Whose queue.
        idle_s: Seconds that an instance has had a frame.
        dry_run: Change nothing.
        note: Why, in words; it is kept in the audit. The reason that the operator gave if left out.

    Returns:
        Instance -> frames that were taken from it.

    Raises:
        AgentNotFound: There is no such agent.
        Conflict: No other instance runs that could take over.
    """
    entry = await system.registry.get(agent_id)
    running = {item.instance for item in entry.running(await system.store.connection.time_ms())}
    found = await _release(system, agent_id, idle_s, dry_run=True)
    for holder in found:
        if not running - {holder}:
            raise Conflict(
                f"no other instance of {agent_id} runs that could take over from {holder}",
                hint=(f"mas agent describe {agent_id}", f"mas agent run {agent_id}"),
                agent=agent_id,
            )
    if dry_run:
        return found
    change: dict[str, object] = {"agent": agent_id, "idle_s": idle_s}
    with acting("bus.claim", agent_id, reason=note):
        async with system.operator_log.writing("queue", agent_id, change=change) as noted:
            found = await _release(system, agent_id, idle_s, dry_run=False)
            noted.facts = {**change, "frames": found}
    return found


async def _release(system: System, agent_id: str, idle_s: float, *, dry_run: bool) -> dict[str, int]:
    found: Counter[str] = Counter()
    inboxes = system.store.agent(agent_id)
    await inboxes.create_inboxes()
    for lane in LANES:
        released = await system.store.queues.release(agent_id, lane, int(idle_s * 1000), dry_run=dry_run)
        found.update(holder for _, holder in released)
    return dict(found)
