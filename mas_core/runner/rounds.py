"""The rounds of a runner: each second it tells the store what it runs, reads the backlogs, and scales.

All of it is one round trip. Where the store does not answer nothing is decided, and waiting begins anew.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import msgspec

from mas_core.base.ids import new_instance_id
from mas_core.base.logs import get_logger
from mas_core.base.loop_lag import LoopLag
from mas_core.errors import MasError
from mas_core.runner.runner_status import MAX_NAMED, InstanceTrouble, RunnerStatus, ScaledAgent
from mas_core.runner.scale_plan import ScalePlan
from mas_core.runner.supervisor import Supervisor
from mas_core.settings.instances import Instances
from mas_core.store.runners import Runners

log = get_logger(__name__)

ROUND_S = 1.0


class Rounds:
    """Looks after a supervisor for as long as it runs.

    Args:
        supervisor: Whose instances are told and scaled.
        runners: Where the heartbeat goes and the backlogs are.
        is_held: Whether an operator keeps an agent from working; then more instances would be of no use.
    """

    def __init__(
        self, supervisor: Supervisor, runners: Runners, is_held: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._supervisor = supervisor
        self._runners = runners
        self._is_held = is_held
        self.runner_id = f"run-{new_instance_id()[:8]}"
        self._started = 0
        self._plans: dict[str, tuple[Instances, ScalePlan]] = {}
        self._scaled: dict[str, ScaledAgent] = {}
        self._lag = LoopLag()

    async def run(self) -> None:
        """Make rounds until cancelled."""
        self._lag.start()
        try:
            while True:
                try:
                    await self._round()
                except MasError as error:
                    log.warning("store.unavailable", runner=self.runner_id, reason=error.message)
                    for _, plan in self._plans.values():
                        plan.start_over()
                await asyncio.sleep(ROUND_S)
        finally:
            self._lag.stop()

    async def leave(self) -> None:
        """Take the heartbeat back."""
        await self._runners.forget(self.runner_id)

    async def _round(self) -> None:
        ranges = self._ranges()
        names = list(ranges)
        now, backlogs = await self._runners.beat(self.runner_id, self._status, names)
        self._started = self._started or now
        for agent_id, backlog in zip(names, backlogs, strict=True):
            await self._look(agent_id, ranges[agent_id], backlog, now)

    def _ranges(self) -> dict[str, Instances]:
        """The agents that are scaled; plans of others, and of ranges that have changed, are dropped."""
        ranges = {
            spec.agent_id: spec.instances for spec in self._supervisor.specs() if spec.instances.is_scaled
        }
        self._plans = {
            name: kept if (kept := self._plans.get(name)) and kept[0] == each else (each, ScalePlan(each))
            for name, each in ranges.items()
        }
        self._scaled = {name: told for name, told in self._scaled.items() if name in ranges}
        return ranges

    async def _look(self, agent_id: str, instances: Instances, backlog: int, now: int) -> None:
        working = self._supervisor.working(agent_id)
        told = self._scaled.get(agent_id)
        reason, since = (told.reason, told.since) if told else ("", now)
        count = len(working)
        plan = self._plans[agent_id][1]
        if any(info.state != "ready" for info in working):
            # What is about to run may be enough, and what does not run does not get better by more of it.
            plan.start_over()
        elif step := plan.look(backlog, count, asyncio.get_running_loop().time()):
            if step.count > count and await self._is_held(agent_id):
                plan.start_over()
            else:
                log.info(
                    "agent.scaled", agent=agent_id, instances=step.count, before=count, reason=step.reason
                )
                await self._supervisor.scale(agent_id, step.count, step.reason)
                count, reason, since = step.count, step.reason, now
        self._scaled[agent_id] = ScaledAgent(
            agent_id, count, instances.min, instances.max, backlog, reason, since
        )

    def _status(self, now: int) -> bytes:
        infos = self._supervisor.status()
        troubles = [
            InstanceTrouble(info.agent_id, info.number, info.state, info.message[:500], info.restarts)
            for info in infos
            if info.state in {"starting", "waiting", "gave_up"}
        ]
        return msgspec.json.encode(
            RunnerStatus(
                self.runner_id,
                now,
                self._started or now,
                socket.gethostname(),
                os.getpid(),
                len(infos),
                tuple(self._scaled.values()),
                tuple(troubles[:MAX_NAMED]),
                self._lag.worst_ms,
            )
        )
