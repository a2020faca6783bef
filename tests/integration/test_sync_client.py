"""Agents in scripts without asyncio, and payloads whose type is known."""

import asyncio

import pytest
from support.systems import live_system

from mas_core import Agent, ErrorReport, SyncClient, TaskAssignment, TaskResponse
from mas_core.errors import AgentFailed, InvalidPayload, MessageNotFound, NotStarted


class Clerk(Agent):
    """Answers assignments, and keeps the reports that come."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.reports = []

    @Agent.on(TaskAssignment)
    async def assigned(self, message, assignment: TaskAssignment):
        """Say that it is done."""
        return TaskResponse(task_id=assignment.task_id, status="done", completion_percentage=100)

    @Agent.on(ErrorReport)
    async def reported(self, message, report: ErrorReport):
        """Keep it."""
        self.reports.append((message.message_type, report))


async def test_a_script_sends_asks_receives_and_processes(server_url):
    """All of it from a thread without a loop; what is not processed stays in the inbox."""
    pairs = [("script", "clerk"), ("clerk", "script"), ("asker", "script")]
    async with live_system(server_url, agents=["script", "clerk", "asker"], allow=pairs) as live:
        clerk = await live.run("clerk", Clerk)
        asker = await live.client("asker")

        def script():
            options = {"redis_url": live.system.target.url, "namespace": live.store.namespace}
            client = SyncClient(
                "script", token=live.tokens["script"], partitions=live.store.partitions, **options
            )
            with pytest.raises(NotStarted):
                client.receive()
            with client:
                answer = client.request("clerk", TaskAssignment(task_type="count", task_id="t1"))
                assert TaskResponse.model_validate(answer).status == "done"
                client.send("clerk", ErrorReport.of(ValueError("no")))
                with pytest.raises(InvalidPayload):
                    client.request("clerk", "task.assignment", {"description": "without a type"})
                first, second = client.receive(limit=5, timeout=10), []
                while len(first) + len(second) < 2:
                    second += client.receive(limit=5, timeout=10)
                done, failed = first + second
                assert client.queue_statistics()["in_hand"] == 2
                client.mark_processed(done.message_id, {"sum": 3})
                client.mark_failed(failed.message_id, ValueError("no"))
                with pytest.raises(MessageNotFound):
                    client.mark_processed(done.message_id)
            with client:
                assert client.receive() == []

        running = asyncio.create_task(asyncio.to_thread(script))
        answers = [asyncio.create_task(_asked(asker, number)) for number in (1, 2)]
        await running
        first, second = [await answer for answer in answers]
        assert first.data == {"sum": 3}
        assert isinstance(second, AgentFailed)
        ((message_type, report),) = clerk.reports
        assert (message_type, report.error_type, report.stack_trace) == ("error.report", "ValueError", "")


async def _asked(asker, number):
    for _ in range(200):
        try:
            await asyncio.sleep(0.05 * number)
            return await asker.request("script", "sum", {"n": number}, timeout=20)
        except AgentFailed as error:
            return error
        except Exception:  # noqa: BLE001 - the script may not run yet
            await asyncio.sleep(0.05)
    raise AssertionError("the script never answered")
