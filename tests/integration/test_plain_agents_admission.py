"""The Agents service lets in whom the certificate names, for as long as it counts, and speaks for few at a time."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from support.plain_agents import Caller, keep_tokens, message, serving_plainly
from support.server_users import store_as, url_of_role
from support.servers import embedded_server
from support.serving import serving
from support.systems import live_system
from support.waiting import until

from mas_core.errors import RateLimited, SecretUnavailable
from mas_core.ops import agents, standings
from mas_core.protocol import agents_pb2 as wire
from mas_core.protocol.agents_pb2 import FromAgent
from mas_core.server.hosting import Hosted, HostedClients


@pytest.fixture
async def system(server_url):
    """plain is known by its certificate; everybody may talk to taker."""
    pairs = [(name, "taker") for name in ("plain", "second", "third")]
    async with live_system(server_url, agents=["plain", "second", "third", "taker"], allow=pairs) as opened:
        yield opened


@pytest.fixture
async def running(system):
    """A server in front of it."""
    async with serving_plainly(system) as opened:
        yield opened


async def test_s37_every_call_of_the_service_refuses_who_is_no_agent_here(system, running):
    """A certificate of the right authority for a name that is not registered opens nothing."""
    async with Caller(running, "stranger") as stranger:
        for method, asked in (
            ("Send", message("taker")),
            ("Request", wire.NewRequest(message=message("taker"))),
            ("Publish", wire.NewPublication(topic="a")),
            ("Discover", wire.DiscoverRequest()),
            ("GetState", wire.GetStateRequest()),
            ("SetState", wire.SetStateRequest()),
            ("AssignTask", wire.NewTask(type="a")),
            ("GetTask", wire.GetTaskRequest(task_id="a")),
            ("CancelTask", wire.CancelTaskRequest(task_id="a")),
        ):
            status, error = await stranger.refused(method, asked)
            assert (status, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "agent_not_found"), method
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stranger.connect()
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await until(lambda: system.audit(kind="security", type="certificate.refused"))


async def test_an_agent_that_is_deleted_loses_its_stream_and_its_calls(system, running):
    """Within a second; what it had in hand is not settled."""
    async with Caller(running, "plain") as plain:
        stream = await plain.connect()
        await plain.call("Send", message("taker"))
        await agents.deregister(system.system, "plain")
        status, error = await stream.reason()
        assert (status, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "agent_not_found")
        status, error = await plain.refused("Send", message("taker"))
        assert (status, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "agent_not_found")


async def test_an_agent_that_an_operator_evicts_learns_why(system, running):
    """The stream ends with the error that an agent of the SDK would raise."""
    async with Caller(running, "plain") as plain:
        stream = await plain.connect()
        await standings.set_standing(system.system, ["plain"], "evicted", reason="not today")
        status, error = await stream.reason()
        assert (status, error.code) == (grpc.StatusCode.PERMISSION_DENIED, "quarantined")


async def test_a_token_that_the_project_replaces_is_taken_up(system, running):
    """The call that finds the old one refused is made again with the new one."""
    async with Caller(running, "plain") as plain:
        await plain.call("Send", message("taker", data={"n": 1}))
        issued = await agents.rotate_token(system.system, "plain", show=True, overlap=0)
        system.tokens["plain"] = issued.token
        keep_tokens(system)
        await plain.call("Send", message("taker", data={"n": 2}))
        taker = await system.run("taker")
        await until(lambda: taker.numbers == [1, 2])


async def test_nonsense_on_the_wire_ends_the_call_and_nothing_else(running):
    """Bytes that are no message, messages that are too long, methods that are not there."""
    async with Caller(running, "plain") as plain:
        for method, body in (
            ("Send", b"\xff" * 40),
            ("Send", b"\x0a\x02\xff\xfe"),
            ("Send", b"\x1a\x80\x80\x80\x03" + b" " * (6 << 20)),
            ("Nothing", b""),
        ):
            call = plain.channel.unary_unary(f"/mas.v1.Agents/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(body, timeout=15)
            assert "Traceback" not in (raised.value.details() or "")
            assert "site-packages" not in (raised.value.details() or "")
        stream = await plain.connect()
        await stream.say(number=1, change_state=FromAgent.ChangeState(fields="{"))
        assert (await stream.answer(1)).error.code == "invalid_payload"
        await stream.end()


async def test_one_stream_says_only_so_much_at_a_time(system, running):
    """What is more than it may have done beside each other is refused, and acknowledgements go on."""
    await system.allow(("taker", "plain"))
    async with Caller(running, "plain") as plain:
        stream = await plain.connect()
        taker = await system.run("taker")
        await system.gateways[0].stop()
        for number in range(1, 300):
            await stream.say(number=number, send=message("taker"))
        answer = (await stream.next()).answer
        assert (answer.id, answer.error.code) == (257, "rate_limited")
        assert taker.numbers == []
        stream.call.cancel()


async def test_a_server_with_a_user_of_its_own_does_all_that_plain_agents_ask_for():
    """Sends, requests, state, failures, claims, topics and tasks: the store refuses nothing of it."""
    async with (
        embedded_server() as store_server,
        live_system(store_server.url, agents=["plain", "taker"]) as system,
        store_as(system, await url_of_role(system, "front")) as store,
        serving(system.system, system.folder / "certs", store=store) as running,
        Caller(running, "plain") as plain,
    ):
        keep_tokens(system)
        await system.allow(("plain", "taker"), ("taker", "plain"))
        await system.allow(("plain", "topic:orders.>"), action="publish")
        await system.allow(("plain", "topic:orders.>"), action="subscribe")
        await system.allow(("plain", "task:default"))
        taker = await system.run("taker")
        stream = await plain.connect(
            subscriptions=[FromAgent.Subscription(pattern="orders.>", durable=True)],
            tasks=FromAgent.TakeTasks(types=["make"]),
        )
        await plain.call("Publish", wire.NewPublication(topic="orders.eu"))
        heard = await stream.delivery()
        assert heard.message.topic == "orders.eu"
        await stream.ack(heard)
        await plain.call("AssignTask", wire.NewTask(type="make"))
        made = await stream.delivery()
        assert made.HasField("task")
        await stream.say(delivery=made.number, reply=FromAgent.Reply(data="{}"))
        await taker.send("plain", "note", delivery="exactly_once")
        note = await stream.delivery()
        stream.call.cancel()
        stream = await plain.connect()
        again = await stream.delivery()
        assert again.message.message_id == note.message.message_id
        fields = FromAgent.ChangeState(fields='{"n": 1}')
        await stream.say(number=1, delivery=again.number, change_state=fields)
        await stream.answer(1)
        await stream.ack(again)
        await stream.end()
        await plain.call("SetState", wire.SetStateRequest(data="{}"))
        assert (await plain.call("Discover", wire.DiscoverRequest())).agents
        refused = await system.store.connection.call("ACL", "LOG", 128)
        assert [
            entry for entry in refused if any(item.endswith(b"front") for item in entry[1::2] if item)
        ] == []


async def test_few_clients_are_kept_and_none_that_is_idle(system):
    """The one that was idle longest makes room; while all are in use, there is none."""
    keep_tokens(system)
    hosted = Hosted(system.store, system.folder / ".mas" / "tokens")
    clients = HostedClients(hosted, most=2, idle_s=0.05)
    try:
        busy, done = asyncio.Event(), asyncio.Event()

        async def hold(client):
            busy.set()
            await done.wait()
            return client.instance

        async def instance(client):
            return client.instance

        holding = asyncio.create_task(clients.use("plain", hold))
        await busy.wait()
        second = await clients.use("second", instance)
        assert clients.count == 2
        await until(lambda: clients.count == 1)
        assert await clients.use("second", instance) != second
        both = [asyncio.create_task(clients.use("second", hold)), holding]
        await asyncio.sleep(0)
        with pytest.raises(RateLimited):
            await clients.use("third", instance)
        done.set()
        assert len(set(await asyncio.gather(*both))) == 2
        with pytest.raises(SecretUnavailable):
            await Hosted(system.store, None).admit("plain")
    finally:
        await clients.close()
    assert clients.count == 0
