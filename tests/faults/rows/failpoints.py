"""R2: processes die at each named step between reading a message and having settled it."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tests.faults.outcome import Options, Outcome, Row
from tests.faults.points import COUNTER_POINTS, GATEWAY_POINTS, RECEIVER_POINTS, SENDER_POINTS
from tests.faults.world import AgentGroup, Plan, World
from tests.faults.zygote import Process

GATEWAY_FAULT = "death of a gateway at each step"
AGENT_FAULT = "death of an agent at each step"
GATEWAYS = 6
PATIENCE_S = 6.0
"""How long a process is waited for before it is asked to end, which some steps only come with."""
TRIES = 12
NEW_POLICY_S = 0.7
"""How often everybody has to start over from the store."""

Start = Callable[[str], Awaitable[Process]]
Job = tuple[str, int, int]


class Jobs:
    """Which failpoint is next, how late, and how often each was reached.

    Args:
        world: For its chance.
        points: Failpoint -> the latest time.
        runs: How often each.
    """

    def __init__(self, world: World, points: Mapping[str, int], runs: int) -> None:
        self.left: list[Job] = [
            (name, world.chance.randint(1, latest), TRIES)
            for name, latest in points.items()
            for _ in range(runs)
        ]
        world.chance.shuffle(self.left)
        self.reached: Counter[str] = Counter()
        self._wanted = dict.fromkeys(points, runs)

    def note(self, job: Job, process: Process, *, has_died: bool) -> bool:
        """Whether the process died where it should; else the job comes again, earlier."""
        name, times, tries = job
        if has_died and process.code == -signal.SIGKILL:
            self.reached[name] += 1
            return True
        if tries > 1:
            self.left.insert(0, (name, max(1, times // 3), tries - 1))
        return False

    def missing(self) -> list[str]:
        """Failpoints that were not reached often enough."""
        return [
            f"{name} was reached {self.reached[name]} times, not {wanted}"
            for name, wanted in self._wanted.items()
            if self.reached[name] < wanted
        ]


async def run_gateways(options: Options) -> Outcome:
    """Every gateway that runs dies at some step, all the time."""
    outcome = Outcome("r2-gateway", GATEWAY_FAULT)
    plan = Plan(partitions=GATEWAYS, gateways=GATEWAYS, failing=0.02)
    async with World(options, plan) as world:
        jobs = Jobs(world, GATEWAY_POINTS, options.runs)
        disturbing = asyncio.create_task(_raise_revisions(world))

        async def replace(veteran: Process) -> None:
            await world.kill_gateway(veteran)
            while jobs.left:
                job = jobs.left.pop()
                process = await world.start_gateway(f"{job[0]}:{job[1]}")
                has_died = await _until_dead(process, is_asked=True)
                world.gateways.remove(process)
                if jobs.note(job, process, has_died=has_died):
                    outcome.runs += 1
                    world.note_fault(await world.owned(process))
            await world.start_gateway()

        await asyncio.gather(*(replace(process) for process in list(world.gateways)))
        disturbing.cancel()
        await world.until_working()
        await world.finish(outcome)
        _judge(outcome, jobs)
    return outcome


async def run_agents(options: Options) -> Outcome:
    """Counters, receivers and senders die at each of their steps."""
    outcome = Outcome("r2-agent", AGENT_FAULT)
    plan = Plan(counters=6, relays=True, receivers=2, failing=0.1, rate=400)
    async with World(options, plan) as world:
        counting, receiving, sending = (
            Jobs(world, points, options.runs) for points in (COUNTER_POINTS, RECEIVER_POINTS, SENDER_POINTS)
        )

        async def replace(group: AgentGroup, jobs: Jobs) -> None:
            await world.kill_agents(group)
            while jobs.left:
                job = jobs.left.pop()
                world.renumber(group)
                process = await world.start_agents(group, f"{job[0]}:{job[1]}")
                # One that is killed leaves something to claim for the next.
                has_died = await _until_dead(process, is_asked=False)
                world.killed_handlers.append(process.pid)
                outcome.runs += jobs.note(job, process, has_died=has_died)
            world.renumber(group)
            await world.start_agents(group)

        shifts: Sequence[tuple[list[AgentGroup], Jobs]] = (
            (world.counters, counting), (world.receivers, receiving), (world.senders, sending),
        )  # fmt: skip
        await asyncio.gather(*(replace(group, jobs) for groups, jobs in shifts for group in groups))
        await world.until_working()
        await world.finish(outcome)
        for jobs in (counting, receiving, sending):
            _judge(outcome, jobs)
        outcome.notes += f", {outcome.figures['counted']:,.0f} counted"
    return outcome


async def _until_dead(process: Process, *, is_asked: bool) -> bool:
    """Whether it died by itself; else it is asked to end, or killed."""
    try:
        await asyncio.wait_for(process.ended.wait(), PATIENCE_S)
    except TimeoutError:
        await (process.end() if is_asked else process.kill())
        return is_asked
    return True


async def _raise_revisions(world: World) -> None:
    while True:
        await asyncio.sleep(NEW_POLICY_S)
        await world.system.store.records.raise_revision()


def _judge(outcome: Outcome, jobs: Jobs) -> None:
    missing = jobs.missing()
    outcome.broken += len(missing)
    outcome.offending += missing
    so_far = int(outcome.figures.get("failpoints", 0)) + len(jobs.reached)
    outcome.figures["failpoints"] = so_far
    outcome.notes = f"{so_far} failpoints"


ROWS = [
    Row("r2-gateway", GATEWAY_FAULT, run_gateways, full=100, slice=5),
    Row("r2-agent", AGENT_FAULT, run_agents, full=100, slice=5),
]
