"""What agents do when the connection to the server ends at a bad moment."""

import asyncio

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core import Agent
from mas_core.errors import RequestTimedOut, StoreFull
from tests.faults.cut_system import cut_system, reads_replies
from tests.faults.proxy import Cut


class Slow(Agent):
    """Answers when it is told to."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.may_answer = asyncio.Event()
        self.handled = []

    async def on_message(self, message):
        self.handled.append(message.message_id)
        await self.may_answer.wait()
        return {"answer": len(self.handled)}


@pytest.mark.parametrize("answers", ["before it asks again", "after it asks again"])
async def test_a_request_that_is_asked_again_under_its_id_gives_the_one_reply(any_url, answers):
    """Row R8: unknown, and then the same id gives what came of it, handled once."""
    async with live_system(any_url, agents=["asker", "slow"], allow=[("asker", "slow")]) as live:
        slow = await live.run("slow", Slow)
        asker = await live.client("asker")
        with pytest.raises(RequestTimedOut):
            await asker.request("slow", "work", message_id="work-1", timeout=0.1)

        if answers == "before it asks again":
            slow.may_answer.set()
            await until(lambda: asker._replies._late["work-1"])
        else:
            asyncio.get_running_loop().call_later(0.1, slow.may_answer.set)
        reply = await asker.request("slow", "work", message_id="work-1", timeout=10)
        once_more = await asker.request("slow", "work", message_id="work-1", timeout=10)

        assert reply.data == once_more.data == {"answer": 1}
        assert slow.handled == ["work-1"]


@pytest.mark.parametrize("fault", ["connection refused", "memory full"])
async def test_a_heartbeat_that_nobody_confirmed_is_tried_again_at_once(fault):
    """Rows R8, R9: an agent whose heartbeat met a fault does not wait a whole interval to beat again."""
    async with cut_system("worker") as system:
        worker = await system.start_agent("worker", heartbeat_interval=3600.0)
        connection = system.live.store.connection

        async def seen():
            [status] = (await system.live.system.registry.get("worker")).instances
            return status.seen

        async def set_fault(*, on):
            if fault == "memory full":
                await connection.call("CONFIG", "SET", "maxmemory", int(on))
                return
            system.agent_side.is_refusing = on
            if on:
                system.agent_side.reset_all()

        began = await seen()
        await set_fault(on=True)
        worker._heartbeat.hurry()
        await until(lambda: not worker._heartbeat._is_due.is_set())
        await asyncio.sleep(0.1)
        await set_fault(on=False)

        async def has_beaten():
            return await seen() > began

        await until(has_beaten)


async def test_a_lost_answer_to_a_read_loses_no_reply():
    """A reply that was on its way when the connection ended is read again."""
    async with cut_system("asker", "worker", allow=[("asker", "worker")]) as system:
        await system.start_agent("worker")
        asker = await system.start_client("asker")
        cut = system.agent_side.arm(Cut(reads_replies, "after"))

        assert await system.ask_until_known(asker, "worker")

        assert (cut.made.is_set(), system.ledger.unknown) == (True, 0)


class Gated(Agent):
    """Handles each message when its gate is opened."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.gates = {"a": asyncio.Event(), "b": asyncio.Event()}
        self.running = set()

    async def on_message(self, message):
        self.running.add(message.data["gate"])
        await self.gates[message.data["gate"]].wait()


async def test_what_is_handled_is_settled_where_the_memory_of_the_server_is_full():
    """Row R9: also in parts of a frame, which takes a field more; otherwise nothing would ever make room."""
    async with cut_system("left", "worker", allow=[("left", "worker")]) as system:
        worker = await system.start_agent("worker", Gated)
        sender = await system.start_client("left")
        await sender.send_many("worker", "load.item", [{"gate": "a"}, {"gate": "b"}])
        await until(lambda: worker.running == {"a", "b"})
        backlog = system.live.store.agent("worker").backlog
        await system.live.store.connection.call("CONFIG", "SET", "maxmemory", 1)

        async def has_settled(count):
            return (await backlog())["normal"] == 2 - count

        worker.gates["a"].set()
        await until(lambda: has_settled(1))
        with pytest.raises(StoreFull):
            await sender.send("worker", "load.item", {"gate": "a"})
        worker.gates["b"].set()
        await until(lambda: has_settled(2))
