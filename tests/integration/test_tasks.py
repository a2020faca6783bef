"""Tasks on a real system: assigned, done once, given to others when workers vanish, cancelled where they run."""

import asyncio
from functools import partial

import pytest
from pydantic import BaseModel
from support.systems import live_system
from support.waiting import until

from mas_cli.output.trace_lines import tree_lines
from mas_core import Agent, Supervisor
from mas_core.agent.supervisor import NewTask
from mas_core.agent.task_handlers import TaskInHand
from mas_core.base.ids import partition_of
from mas_core.errors import (
    CoordinationRefused,
    Forbidden,
    InvalidIdentifier,
    RequestTimedOut,
    ResourceNotFound,
    TaskFailed,
)
from mas_core.ops import tasks, trace


class Sum(BaseModel):
    """What is to be added."""

    numbers: list[int]


class Worker(Agent):
    """Adds numbers, waits, and fails."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.begun = []
        self.may_end = asyncio.Event()

    @Agent.task("sum", model=Sum)
    async def add(self, task: TaskInHand, wanted: Sum):
        """The sum."""
        self.begun.append(task.id)
        return {"sum": sum(wanted.numbers)}

    @Agent.task("wait")
    async def wait_for_it(self, task: TaskInHand):
        """Until the test lets it end."""
        self.begun.append(task.id)
        task.report(25, "waiting")
        await self.may_end.wait()
        return {"by": self.id, "attempt": task.attempt}

    @Agent.task("fail")
    async def fail(self, task: TaskInHand):
        """Always."""
        self.begun.append(task.id)
        raise ValueError("a secret")


@pytest.fixture
async def system(server_url):
    """boss assigns to the default queue; ann and bob work on it."""
    async with live_system(server_url, agents=["boss", "ann", "bob", "eve"]) as opened:
        await opened.allow(("boss", "task:default"), action="assign")
        await opened.allow(("ann", "task:default"), ("bob", "task:default"), action="work")
        yield opened


async def test_who_waits_asks_again_when_the_policy_changes(system):
    """Workers, askers and candidates do not wait for a gateway that has started over and forgotten them."""
    ann = await system.run("ann", Worker)
    boss = Supervisor(await system.client("boss"))
    await system.allow(("ann", "leader:sums"), ("bob", "leader:sums"), action="lead")
    following = (await system.run("bob")).leadership("sums")
    async with ann.leadership("sums"):
        candidacy = asyncio.create_task(following.campaign())
        held = await boss.assign("wait")
        result = asyncio.create_task(boss.result(held))
        await until(lambda: ann.begun)
        await asyncio.sleep(0.1)
        await system.allow(("eve", "ann"))
        async with asyncio.timeout(8):
            assert await boss.result(await boss.assign("sum", {"numbers": [1, 2]})) == {"sum": 3}
            ann.may_end.set()
            assert (await result)["attempt"] == 1
    async with asyncio.timeout(8):
        assert await candidacy
    await following.resign()


async def test_a_task_is_done_and_recorded(system):
    """Result, failure and refusal reach the one who assigned; texts of exceptions stay with the worker."""
    await system.run("ann", Worker)
    boss = Supervisor(await system.client("boss"))
    assert await boss.result(await boss.assign("sum", {"numbers": [1, 2]}), 10) == {"sum": 3}
    with pytest.raises(TaskFailed) as failed:
        await boss.result(await boss.assign("fail", max_attempts=2), 10)
    assert "secret" not in str(failed.value.details) + failed.value.message
    assert failed.value.details["error_type"] == "ValueError"
    wrong = await boss.wait(await boss.assign("sum", {"numbers": "no"}), 10)
    assert (wrong.status, wrong.attempt) == ("failed", 1)
    stats = await boss.statistics()
    assert (stats.done, stats.failed, stats.workers["ann"].done) == (1, 2, 1)
    stranger = Supervisor(await system.client("eve"))
    with pytest.raises(Forbidden):
        await stranger.assign("sum")
    with pytest.raises(InvalidIdentifier):
        await boss.assign("sum!!")
    with pytest.raises(RequestTimedOut) as untaken:
        await boss.result(await boss.assign("sum", {"numbers": []}, capabilities=["gpu"]), 0)
    assert "mas rbac allow AGENT task:default --action work" in str(untaken.value.details["because"])
    outcomes = [record.details.get("outcome") for record in await system.audit(target="task:default")]
    assert {"assigned", "waits", "done", "failed"} <= set(outcomes)
    assert await system.audit_holds()
    (assigned, *_) = await system.audit(type="task.assign")
    hop = await trace.trace(system.system, assigned.message_id)
    assert (hop.target, hop.status, hop.outcome) == ("task:default", "delivered", "assigned")
    assert "task:default: assigned" in "".join(cell.text for line in tree_lines(hop) for cell in line)


async def test_waits_for_what_it_depends_on_and_is_there_once(system):
    """Tasks that depend on each other run in their order; assigning again under the same ids changes nothing."""
    worker = await system.run("ann", Worker)
    boss = Supervisor(await system.client("boss"))
    numbers = {"numbers": [1]}
    first = NewTask(type="sum", parameters=numbers, task_id="first")
    last = NewTask(type="sum", parameters=numbers, task_id="last", depends_on=["first"])
    for _ in range(2):
        await boss.assign_all([last, first])
    await boss.result("last", 10)
    assert worker.begun == ["first", "last"]


async def test_a_worker_that_is_not_heard_of_costs_an_attempt(system):
    """What it held goes to somebody else after its lease; that it ends it too has no effect."""
    boss = Supervisor(await system.client("boss"))
    ann = await system.run("ann", Worker, task_lease=1, task_slots=1)
    lost = await boss.assign("wait")
    await until(lambda: ann.begun == [lost])
    # Ann goes on working, and nobody hears of it.
    ann._tasks._loops[1].cancel()
    bob = await system.run("bob", Worker)
    bob.may_end.set()
    expected = {"by": "bob", "attempt": 2}
    assert await boss.result(lost, 10) == expected
    ann.may_end.set()
    await until(lambda: not ann._tasks._in_hand)
    assert (await boss.get(lost)).result == expected
    kinds = [record.kind for record in await system.audit(target="task:default")]
    assert kinds.count("task.reassigned") == 1


async def test_a_worker_that_stops_gives_back_what_it_holds(system):
    """Others get it at once, long before its lease ends."""
    boss = Supervisor(await system.client("boss"))
    ann = await system.run("ann", Worker, task_lease=300)
    held = await boss.assign("wait", max_attempts=1)
    await until(lambda: ann.begun == [held])
    await ann.stop(drain_timeout=0)
    bob = await system.run("bob", Worker)
    bob.may_end.set()
    assert (await boss.result(held, 10))["by"] == "bob"


async def test_cancelling_stops_the_handler(system):
    """The worker learns of it with its next beat, and takes something else."""
    boss = Supervisor(await system.client("boss"))
    ann = await system.run("ann", Worker, task_lease=1, task_slots=1)
    waiting = await boss.assign("wait")
    await until(lambda: ann.begun == [waiting])
    following = await boss.assign("sum", {"numbers": [5]})
    assert (await boss.cancel(waiting, "not wanted")).status == "cancelled"
    assert await boss.result(following, 10) == {"sum": 5}
    with pytest.raises(TaskFailed, match="not wanted"):
        await boss.result(waiting)
    with pytest.raises(CoordinationRefused):
        await boss.cancel(waiting)


async def test_operators_find_a_task_wherever_it_is(system):
    """In the default queue, in the one that they name, or in any; a record that no gateway wrote is none."""
    await system.allow(("boss", "task:side"), action="assign")
    here = await Supervisor(await system.client("boss")).assign("sum", {"numbers": []})
    there = await Supervisor(await system.client("boss"), "side").assign("sum", {"numbers": []})
    get = partial(tasks.get_task, system.system)
    found = [await get(here), await get(here, "default"), await get(there), await get(there, "side")]
    assert [(task.id, task.queue) for task in found] == [(here, "default")] * 2 + [(there, "side")] * 2
    for wrong in ((here, "side"), (there, "default"), ("nothing",)):
        with pytest.raises(ResourceNotFound):
            await get(*wrong)
    store = system.store
    key = store.keys.resources(partition_of("task:side", store.partitions), "task")
    await store.connection.call("HSET", key, f"side/{there}", b"x" * 40)
    for words in ((there,), (there, "side")):
        with pytest.raises(ResourceNotFound):
            await get(*words)


async def test_spoiled_records_of_votes_stop_no_task(system):
    """Records of one kind are read without those of others."""
    held = await Supervisor(await system.client("boss")).assign("sum", {"numbers": []})
    for partition in range(system.store.partitions):
        await system.store.connection.call("SET", system.store.keys.resources(partition, "vote"), "spoiled")
    assert [task.id for task in await tasks.list_tasks(system.system)] == [held]
