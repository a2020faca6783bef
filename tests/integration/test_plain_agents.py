"""The Agents service: plain messages in and out, with the rules of the SDK."""

from __future__ import annotations

import asyncio
import json

import grpc
import grpc.aio
import pytest
from support.plain_agents import Caller, Stream, data_of, message, serving_plainly
from support.systems import live_system
from support.waiting import until

from mas_core.agent.agent import Agent
from mas_core.agent.supervisor import Supervisor
from mas_core.errors import InvalidPayload, NoResponder
from mas_core.ops import dead_letters
from mas_core.protocol import agents_pb2 as wire
from mas_core.protocol.agents_pb2 import FromAgent
from mas_core.server import agent_stream


async def letters_of(system):
    """The dead letters that there are."""
    return (await dead_letters.list_letters(system.system, dead_letters.Wanted())).letters


class Adder(Agent):
    """Adds."""

    capabilities = ("math",)

    @Agent.on("add")
    async def add(self, message):
        return {"sum": sum(message.data["numbers"])}


@pytest.fixture
async def system(server_url):
    """plain is known by its certificate, adder runs on the store; zoe may not be talked to."""
    async with live_system(
        server_url,
        agents=["plain", "adder", "zoe"],
        allow=[("plain", "adder"), ("adder", "plain"), ("plain", "plain")],
    ) as opened:
        yield opened


@pytest.fixture
async def running(system):
    """A server in front of it."""
    async with serving_plainly(system) as opened:
        yield opened


@pytest.fixture
async def plain(running):
    """Whoever has the certificate of plain."""
    async with Caller(running, "plain") as caller:
        yield caller


async def test_calls_send_ask_find_publish_and_keep_state(system, plain):
    """Each call does what the SDK does, as the agent of the certificate."""
    adder = await system.run("adder", Adder, metadata={"zone": "eu"})
    await system.allow(("plain", "topic:orders.>"), action="publish")
    receipt = await plain.call("Send", message("adder", "add", {"numbers": [1]}, message_id="once"))
    assert (receipt.decision, receipt.message_id) == ("allowed", "once")
    again = await plain.call("Send", message("adder", "add", {"numbers": [1]}, message_id="once"))
    assert again.decision == "allowed"
    asked = wire.NewRequest(message=message("adder", "add", {"numbers": [2, 3]}))
    reply = await plain.call("Request", asked)
    assert (reply.sender, reply.type, data_of(reply)) == ("adder", "add.reply", {"sum": 5})
    (found,) = (await plain.call("Discover", wire.DiscoverRequest(capabilities=["math"]))).agents
    assert (found.id, json.loads(found.metadata), found.instances) == ("adder", {"zone": "eu"}, 1)
    published = await plain.call("Publish", wire.NewPublication(topic="orders.eu", data='{"n": 1}'))
    assert published.decision == "allowed"

    assert await plain.call("GetState", wire.GetStateRequest()) == wire.State(data="{}", revision=0)
    set_to = await plain.call("SetState", wire.SetStateRequest(data='{"n": 1}', expected_revision=0))
    assert await plain.call("GetState", wire.GetStateRequest()) == set_to
    status, changed = await plain.refused("SetState", wire.SetStateRequest(data="{}", expected_revision=0))
    assert (status, changed.code) == (grpc.StatusCode.ABORTED, "state_changed")
    assert changed.details["found"] == set_to.revision
    records = await system.audit(sender="plain", type="add", message_id="once")
    assert {record.target for record in records} == {adder.id}


async def test_what_is_refused_ends_with_a_status_and_a_stable_code(system, plain):
    """Coarse statuses of gRPC, and in the trailing metadata the error that the SDK would raise."""
    await system.run("adder", Adder)
    cases = [
        ("Send", message("zoe"), grpc.StatusCode.PERMISSION_DENIED, "forbidden"),
        ("Send", message("nobody"), grpc.StatusCode.NOT_FOUND, "agent_not_found"),
        ("Send", message("../adder"), grpc.StatusCode.INVALID_ARGUMENT, "invalid_identifier"),
        ("Send", message("adder", "a b"), grpc.StatusCode.INVALID_ARGUMENT, "invalid_identifier"),
        ("Send", wire.NewMessage(target="adder", type="x", data="[]"), None, "invalid_payload"),
        ("Send", wire.NewMessage(target="adder", type="x", data='{"a":1,"a":2}'), None, "invalid_payload"),
        ("Send", wire.NewMessage(target="adder", type="x", data='{"a":' * 70), None, "invalid_payload"),
        ("Send", wire.NewMessage(target="adder", type="x", data="{" + " " * 1_000_000), None, "invalid_payload"),
        ("Send", message("adder", priority=11), None, "usage"),
        ("Send", message("adder", ttl_ms=2**63), None, "usage"),
        ("Send", message("adder", deliver_at_ms=2**63), None, "usage"),
        ("Send", message("adder", deliver_after_ms=2**63), None, "usage"),
        ("Send", message("adder", delivery="twice"), None, "usage"),
        ("Send", message("adder", on_behalf=True), None, "usage"),
        ("Send", message("adder", message_id="a\nb"), None, "invalid_identifier"),
        ("Request", wire.NewRequest(message=message("adder", deliver_after_ms=1)), None, "usage"),
        ("Discover", wire.DiscoverRequest(capabilities=["x"] * 65), None, "usage"),
        ("Discover", wire.DiscoverRequest(metadata="[1]"), None, "invalid_payload"),
        ("SetState", wire.SetStateRequest(data="7"), None, "invalid_payload"),
        ("AssignTask", wire.NewTask(type="make"), grpc.StatusCode.PERMISSION_DENIED, "forbidden"),
    ]  # fmt: skip
    for method, asked, status, code in cases:
        found, error = await plain.refused(method, asked)
        assert (found, error.code) == (status or grpc.StatusCode.INVALID_ARGUMENT, code), (method, asked)
        assert "Traceback" not in error.message
    failing = wire.NewRequest(message=message("adder", "add"))
    found, error = await plain.refused("Request", failing)
    assert (found, error.details["agent_code"]) == (grpc.StatusCode.UNKNOWN, "handler_failed")
    found, error = await plain.refused("GetTask", wire.GetTaskRequest(task_id="none"))
    assert found in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND}


async def test_an_agent_whose_token_the_project_does_not_keep_learns_what_to_type(system, running):
    """The certificate lets it in, but the server cannot speak for it; its state it reaches all the same."""
    await system.register("newcomer")
    async with Caller(running, "newcomer") as newcomer:
        status, error = await newcomer.refused("Send", message("adder"))
        assert (status, error.code) == (grpc.StatusCode.FAILED_PRECONDITION, "secret_unavailable")
        assert "mas agent token rotate newcomer" in error.hint
        assert str(system.folder) not in error.message
        assert (await newcomer.call("GetState", wire.GetStateRequest())).revision == 0


async def test_an_agent_is_there_takes_messages_and_answers(system, plain):
    """Deliveries come with who sent them; what is acknowledged does not come again, and a reply ends a request."""
    stream = await plain.connect(capabilities=["text"], metadata='{"lang": "any"}', max_in_flight=4)
    adder = await system.run("adder")
    (found,) = await adder.discover(["text"])
    assert (found["id"], found["metadata"]) == ("plain", {"lang": "any"})
    await adder.send("plain", "note", {"n": 1}, priority=9)
    note = await stream.delivery()
    assert (note.message.sender, note.message.type, data_of(note.message)) == ("adder", "note", {"n": 1})
    assert (note.message.priority, note.message.attempt, note.message.expects_reply) == (9, 1, False)
    await stream.ack(note)

    asking = asyncio.create_task(adder.request("plain", "shout", {"text": "hi"}))
    asked = await stream.delivery()
    assert asked.message.expects_reply
    await stream.say(number=7, delivery=asked.number, reply=FromAgent.Reply(data='{"text": "HI"}'))
    assert (await stream.answer(7)).receipt.decision == "allowed"
    reply = await asking
    assert (reply.message_type, reply.data) == ("shout.reply", {"text": "HI"})

    asking = asyncio.create_task(adder.request("plain", "quietly"))
    await stream.ack(await stream.delivery())
    assert (await asking).data == {}
    asking = asyncio.create_task(adder.request("plain", "badly"))
    asked = await stream.delivery()
    await stream.say(delivery=asked.number, nack=FromAgent.Nack(reason="not so", permanent=True))
    with pytest.raises(InvalidPayload, match="not so"):
        await asking
    # What is over is over.
    await stream.say(number=8, delivery=asked.number, ack=FromAgent.Ack())
    assert (await stream.answer(8)).error.code == "usage"
    await stream.end()
    await until(lambda: nobody_has(adder, "text"))


async def nobody_has(agent, capability):
    """Whether discovery finds nobody."""
    return not await agent.discover([capability])


async def test_a_stream_sends_asks_and_publishes_by_number(system, plain):
    """Answers carry the number of what was said; refusals are answers too, and end nothing."""
    await system.run("adder", Adder)
    stream = await plain.connect()
    await stream.say(number=1, send=message("adder", "add", {"numbers": [1]}))
    assert (await stream.answer(1)).receipt.decision == "allowed"
    await stream.say(number=2, request=wire.NewRequest(message=message("adder", "add", {"numbers": [1, 2]})))
    assert data_of((await stream.answer(2)).message) == {"sum": 3}
    await stream.say(number=3, send=message("zoe"))
    assert (await stream.answer(3)).error.code == "forbidden"
    await stream.say(number=4, publish=wire.NewPublication(topic="a b"))
    assert (await stream.answer(4)).error.code == "invalid_identifier"
    await stream.say(number=5, change_state=FromAgent.ChangeState(fields='{"n": 1}'))
    assert (await stream.answer(5)).HasField("done")
    assert json.loads((await plain.call("GetState", wire.GetStateRequest())).data) == {"n": 1}
    for number, what in enumerate(
        ({}, {"hello": FromAgent.Hello()}, {"ack": FromAgent.Ack()}, {"delivery": 9, "ack": FromAgent.Ack()}),
        6,
    ):
        await stream.say(number=number, **what)
        assert (await stream.answer(number)).error.code == "usage"
    await stream.end()


async def test_no_more_is_in_hand_than_the_agent_wants(system, plain):
    """The third delivery waits until one of the two before it is acknowledged."""
    stream = await plain.connect(max_in_flight=2)
    adder = await system.run("adder")
    await adder.send_many("plain", "note", [{"n": n} for n in range(4)])
    first, _second = await stream.delivery(), await stream.delivery()
    await asyncio.sleep(0.1)
    await stream.say(number=1, send=message("zoe"))
    # Were there a third one, it would come before this answer.
    await stream.answer(1)
    await stream.ack(first)
    assert data_of((await stream.delivery()).message) == {"n": 2}


async def test_what_was_not_acknowledged_comes_again_after_the_stream_broke(system, running):
    """Another stream gets it; what was acknowledged before is not repeated."""
    adder = await system.run("adder")
    async with Caller(running, "plain") as first:
        stream = await first.connect()
        await adder.send_many("plain", "note", [{"n": n} for n in range(3)])
        deliveries = [await stream.delivery() for _ in range(3)]
        await stream.ack(deliveries[1])
        await stream.say(number=1, send=message("zoe"))
        await stream.answer(1)
        await asyncio.sleep(0.05)
        stream.call.cancel()
    async with Caller(running, "plain") as second:
        stream = await second.connect()
        found = []
        for _ in range(2):
            delivery = await stream.delivery()
            found.append(data_of(delivery.message)["n"])
            await stream.ack(delivery)
        assert sorted(found) == [0, 2]
        await stream.end()
    assert await adder.backlog() == {"high": 0, "normal": 0, "low": 0}


async def test_what_was_acknowledged_before_the_stream_ended_is_done(system, running):
    """However soon after it: nothing comes again."""
    adder = await system.run("adder")
    async with Caller(running, "plain") as caller:
        for n in range(5):
            stream = await caller.connect()
            await adder.send("plain", "note", {"n": n})
            delivery = await stream.delivery()
            assert data_of(delivery.message) == {"n": n}
            await stream.ack(delivery)
            await stream.call.done_writing()
            assert await stream.call.read() is grpc.aio.EOF
    assert await adder.backlog() == {"high": 0, "normal": 0, "low": 0}


async def test_a_message_that_ends_every_stream_becomes_a_dead_letter(system, running):
    """As one that kills its process does: the starts of streams that broke count."""
    adder = await system.run("adder")
    await adder.send("plain", "poison")
    letters = []
    for _ in range(12):
        async with Caller(running, "plain") as caller:
            stream = await caller.connect()
            coming = asyncio.create_task(stream.call.read())
            while not coming.done() and not letters:
                await asyncio.wait([coming], timeout=0.05)
                letters = await letters_of(system)
            stream.call.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        if letters:
            break
    assert [letter.facts.type for letter in letters] == ["poison"]


async def test_what_is_done_in_the_course_of_a_delivery_has_no_second_effect(system, running):
    """Ids of what is sent derive from the delivery, and the state is committed with its acknowledgement."""
    adder = await system.run("adder")
    await adder.send("plain", "count", message_id="one")
    for is_last in (False, True):
        async with Caller(running, "plain") as caller:
            stream = await caller.connect()
            delivery = await stream.delivery()
            await stream.say(number=1, delivery=delivery.number, send=message("adder", "told"))
            await stream.answer(1)
            fields = FromAgent.ChangeState(fields='{"counted": 1}')
            await stream.say(number=2, delivery=delivery.number, change_state=fields)
            assert (await stream.answer(2)).HasField("done")
            if is_last:
                await stream.ack(delivery)
                await until(lambda: is_counted(caller))
                await stream.end()
            else:
                assert (await caller.call("GetState", wire.GetStateRequest())).revision == 0
                stream.call.cancel()
    assert [item.message_type for item in adder.messages] == ["told"]


async def is_counted(caller):
    """Whether the state is there."""
    return (await caller.call("GetState", wire.GetStateRequest())).data == '{"counted":1}'


async def test_what_is_nacked_comes_again_and_in_vain_it_is_kept(system, plain):
    """The attempt counts; a permanent one is a dead letter at once."""
    stream = await plain.connect()
    adder = await system.run("adder")
    await adder.send("plain", "note")
    first = await stream.delivery()
    await stream.say(delivery=first.number, nack=FromAgent.Nack(reason="later"))
    second = await stream.delivery()
    assert (second.message.attempt, second.message.message_id) == (2, first.message.message_id)
    await stream.say(delivery=second.number, nack=FromAgent.Nack(reason="never", permanent=True))

    (letter,) = await until(lambda: letters_of(system))
    assert letter.facts.message_id == first.message.message_id
    await stream.end()


async def test_a_delivery_that_takes_too_long_is_over(system, plain):
    """The agent is told, and what it says of it later counts no more."""
    stream = await plain.connect(handle_within_ms=50)
    adder = await system.run("adder")
    await adder.send("plain", "slow")
    delivery = await stream.delivery()
    said = await stream.next()
    assert (said.ended.delivery, said.ended.error.code) == (delivery.number, "handler_timed_out")
    again = await stream.delivery()
    assert again.message.attempt == 2
    await stream.ack(again)
    await stream.end()


async def test_topics_and_tasks_are_deliveries_too(system, plain):
    """A subscription says what it hears; a task is told of while it is done, and its reply is the result."""
    await system.allow(("adder", "topic:orders.>"), action="publish")
    await system.allow(("plain", "topic:orders.>"), action="subscribe")
    await system.allow(("adder", "task:default"), action="assign")
    await system.allow(("plain", "task:default"), action="work")
    stream = await plain.connect(
        subscriptions=[FromAgent.Subscription(pattern="orders.>")],
        tasks=FromAgent.TakeTasks(types=["report.make"]),
    )
    adder = await system.run("adder")
    await adder.publish("orders.eu", {"n": 1})
    heard = await stream.delivery()
    assert (heard.message.topic, heard.message.number, data_of(heard.message)) == ("orders.eu", 1, {"n": 1})
    await stream.ack(heard)
    supervisor = Supervisor(adder.client)
    task_id = await supervisor.assign("report.make", {"of": "orders"})
    task = (await stream.delivery()).task
    assert (task.task_id, task.assigner, json.loads(task.parameters)) == (task_id, "adder", {"of": "orders"})
    for progress in (float("nan"), 40.0):
        await stream.say(delivery=2, progress=FromAgent.Progress(percentage=progress, note="half"))
    await stream.say(delivery=2, reply=FromAgent.Reply(data='{"pages": 3}'))
    assert await supervisor.result(task_id, 10) == {"pages": 3}
    await stream.end()


async def test_a_task_is_assigned_followed_and_cancelled(system, plain):
    """By unary calls: it waits while nobody does it, and is over once it is cancelled."""
    await system.allow(("plain", "task:default"), action="assign")
    assigned = await plain.call("AssignTask", wire.NewTask(type="report.make", task_id="t1"))
    assert (assigned.task_id, assigned.queue) == ("t1", "default")
    found = await plain.call("GetTask", wire.GetTaskRequest(task_id="t1"))
    assert (found.status, found.assigner) == ("waiting", "plain")
    gone = await plain.call("CancelTask", wire.CancelTaskRequest(task_id="t1", reason="no need"))
    assert gone.status == "cancelled"
    status, error = await plain.refused("GetTask", wire.GetTaskRequest(task_id="none"))
    assert (status, error.code) == (grpc.StatusCode.NOT_FOUND, "resource_not_found")


async def test_a_server_that_goes_away_lets_agents_finish(system, running, plain):
    """It says so, takes the acknowledgements of what is in hand, and then ends the stream."""
    stream = await plain.connect()
    adder = await system.run("adder")
    await adder.send("plain", "note")
    delivery = await stream.delivery()
    stopping = asyncio.create_task(running.server.stop())
    assert (await stream.next()).HasField("draining")
    await stream.ack(delivery)
    status, error = await stream.reason()
    assert (status, error.code) == (grpc.StatusCode.UNAVAILABLE, "store_unreachable")
    await stopping
    assert await adder.backlog() == {"high": 0, "normal": 0, "low": 0}
    with pytest.raises(NoResponder):
        await adder.request("plain", "there", timeout=0.1)


async def test_a_stream_that_says_nonsense_is_ended(plain, monkeypatch):
    """Not hello first, nothing at all, or a hello that cannot be: a status, and no agent is there."""
    monkeypatch.setattr(agent_stream, "HELLO_S", 0.2)
    silent = Stream(plain.channel)
    status, error = await silent.reason()
    assert (status, error.code) == (grpc.StatusCode.INVALID_ARGUMENT, "usage")
    for first in (
        FromAgent(drain=FromAgent.Drain()),
        FromAgent(hello=FromAgent.Hello(max_in_flight=100_000)),
        FromAgent(hello=FromAgent.Hello(handle_within_ms=2**32 - 1)),
        FromAgent(hello=FromAgent.Hello(metadata="[]")),
        FromAgent(hello=FromAgent.Hello(metadata='{"a": "' + "b" * 20_000 + '"}')),
        FromAgent(hello=FromAgent.Hello(capabilities=["x"] * 65)),
        FromAgent(hello=FromAgent.Hello(capabilities=["a\nb"])),
        FromAgent(hello=FromAgent.Hello(mode="now and then")),
        FromAgent(hello=FromAgent.Hello(tasks=FromAgent.TakeTasks())),
        FromAgent(hello=FromAgent.Hello(subscriptions=[FromAgent.Subscription(pattern="a b")])),
        FromAgent(hello=FromAgent.Hello(subscriptions=[FromAgent.Subscription(pattern="a", start="-1")])),
    ):
        stream = Stream(plain.channel)
        await stream.call.write(first)
        status, error = await stream.reason()
        assert status is grpc.StatusCode.INVALID_ARGUMENT, (first, status, error)
    assert not (await plain.call("Discover", wire.DiscoverRequest())).agents
