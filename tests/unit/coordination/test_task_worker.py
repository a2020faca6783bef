"""What a worker does with answers that come late, are lost, or refuse what it tells."""

import asyncio
from types import SimpleNamespace

import pytest
from support.waiting import until

from mas_core.agent.task_handlers import TaskHandler
from mas_core.agent.task_worker import TaskOptions, TaskWorker
from mas_core.errors import PayloadBlocked, RequestTimedOut


class Queue:
    """Gives tasks as the test says; `told` has what came."""

    agent_id = "ann"

    def __init__(self):
        self.tasks = asyncio.Queue()
        self.told = []
        self.answers = {}

    def give(self, attempt=1):
        """Task t for whoever takes."""
        task = {"task_id": "t", "queue": "q", "type": "w", "attempt": attempt, "assigner": "boss"}
        self.tasks.put_nowait({**task, "deadline": 0, "lease_ms": 30_000})

    def said(self, verb):
        """What came under a verb."""
        return [data for found, data in self.told if found == verb]

    async def request(self, target, message_type, data, *, timeout, message_id):
        """A task for a `take`; other answers come from the test."""
        verb = message_type.partition(".")[2]
        self.told.append((verb, data))
        if verb == "take":
            return SimpleNamespace(data={"tasks": [await self.tasks.get()]})
        answer = self.answers.get(verb, lambda data: {})(data)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return SimpleNamespace(data=answer)


@pytest.fixture
def queue():
    """A queue with nothing in it."""
    return Queue()


@pytest.fixture
async def work(queue):
    """Starts a worker whose handler is given."""
    workers = []

    def start(do, lease=1.0):
        handlers = {"w": TaskHandler("w", "w", None, False)}
        worker = TaskWorker(queue, handlers, lambda _, task: do(task), (), TaskOptions("q", lease=lease))
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        await worker.stop()


async def test_a_late_word_about_an_attempt_does_not_end_the_next(queue, work):
    """When a task comes again while a beat is under way, its answer does not stop the new attempt."""
    ended, answered = [], asyncio.Event()

    async def do(task):
        await answered.wait() if task.attempt == 2 else await asyncio.sleep(60)
        await asyncio.sleep(0.01)
        ended.append(task.attempt)

    async def lost(data):
        if data["tasks"][0]["attempt"] > 1:
            return {}
        queue.give(2)
        await until(lambda: worker._in_hand["t"][0].attempt == 2)
        answered.set()
        return {"lost": ["t"]}

    queue.answers["beat"] = lost
    queue.give(1)
    worker = work(do)
    await until(lambda: queue.said("finish"))
    assert ended == [2]


async def test_a_result_that_is_refused_ends_the_task(queue, work):
    """A result that may not be told is a failure, so the task is not done again and again."""

    async def do(task):
        return {"card": "4111"}

    def finish(data):
        if "result" in data:
            raise PayloadBlocked("a card number")
        return {}

    queue.answers["finish"] = finish
    queue.give()
    work(do)
    await until(lambda: len(queue.said("finish")) == 2)
    last = queue.said("finish")[-1]
    assert (last["error"]["type"], last["retryable"]) == ("payload_blocked", False)


async def test_a_note_that_is_refused_costs_no_lease(queue, work):
    """Beats go on without notes when one of them may not be told."""

    async def do(task):
        task.report(50, "4111")
        await asyncio.sleep(60)

    def beat(data):
        if data["tasks"][0]["note"]:
            raise PayloadBlocked("a card number")
        return {}

    queue.answers["beat"] = beat
    queue.give()
    work(do, lease=2)
    await until(lambda: any(not told["tasks"][0]["note"] for told in queue.said("beat")))
    assert queue.said("beat")[-1]["tasks"][0]["progress"] == 50


async def test_a_beat_that_is_lost_is_told_again_soon(queue, work):
    """Long before the lease ends: a task that was just given is lost sooner."""
    answers = [RequestTimedOut("lost")]

    async def do(task):
        await asyncio.sleep(60)

    def beat(data):
        if answers:
            raise answers.pop()
        return {}

    queue.answers["beat"] = beat
    queue.give()
    work(do, lease=300)
    await until(lambda: len(queue.said("beat")) == 2)


async def test_what_cancels_itself_has_failed(queue, work):
    """A handler that waits for something cancelled fails; the task does not come again in the same attempt."""

    async def do(task):
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other

    queue.give()
    work(do)
    await until(lambda: queue.said("finish"))
    assert queue.said("finish")[0]["error"]["type"] == "CancelledError"


async def test_short_tasks_and_reports_cost_few_messages(queue, work):
    """A task that is over at once needs no beat, and handlers may report as often as they like."""

    async def do(task):
        for number in range(100 if task.attempt == 2 else 0):
            task.report(number)
            await asyncio.sleep(0.005)

    queue.give()
    work(do, lease=5)
    await until(lambda: queue.said("finish"))
    assert not queue.said("beat")
    queue.give(2)
    await until(lambda: len(queue.said("finish")) == 2)
    assert len(queue.said("beat")) <= 1


async def test_a_worker_that_drains_gives_back_what_it_does_not_know(queue, work):
    """It goes on with what it has, and takes its question back."""
    may_end = asyncio.Event()

    async def do(task):
        await may_end.wait()

    queue.answers["leave"] = lambda data: may_end.set() or {}
    queue.give()
    worker = work(do)
    await until(lambda: worker._in_hand)
    assert await worker.drain(5)
    assert queue.said("leave") == [{"holds": ["t"]}]
