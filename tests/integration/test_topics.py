"""Topics: one message in a log, and everybody who may read it hears it."""

import asyncio

import msgspec
import pytest
from pydantic import BaseModel
from support.servers import embedded_server
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core import SyncClient
from mas_core.agent.agent import Agent
from mas_core.errors import (
    Backpressure,
    DecryptionFailed,
    Forbidden,
    InvalidIdentifier,
    InvalidPayload,
    NoResponder,
    Refused,
    StoreFull,
)
from mas_core.model.decision import Decision
from mas_core.model.policy import Rule
from mas_core.model.topic import SUBSCRIBE, TopicHeader
from mas_core.ops import partitions, rbac, standings
from mas_core.ops.system import System
from mas_core.ops.topics import topics as list_topics
from mas_core.resilience.retry_policy import RetryPolicy
from mas_core.security.policy_changes import add_rule
from mas_core.store.topics import partition_of_topic


@pytest.fixture
async def system(any_url):
    """alice may publish orders, bob may read them; carol may neither."""
    async with live_system(any_url, agents=["alice", "bob", "carol"]) as opened:
        await opened.allow(("alice", "topic:orders.>"), action="publish")
        await opened.allow(("bob", "topic:orders.>"), action="subscribe")
        yield opened


async def next_of(messages, count):
    """The next messages of a subscription."""
    found = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found.append(await anext(messages))
    return found


async def test_subscribers_hear_what_is_published_to_topics_that_match(system):
    """Wildcards stand for one word or for the rest, of topics that are there and of those that come."""
    alice, bob = await system.client("alice"), await system.client("bob")
    await alice.publish("orders.created", {"n": 0})
    async with (
        bob.subscribe("orders.*") as words,
        bob.subscribe("orders.>") as rest,
        bob.subscribe("orders.created") as exact,
    ):
        await alice.publish("orders.created", {"n": 1})
        await alice.publish("orders.eu.created", {"n": 2})
        await alice.publish("orders.closed", {"n": 3})
        assert {m.data["n"] for m in await next_of(rest, 3)} == {1, 2, 3}
        assert {m.data["n"] for m in await next_of(words, 2)} == {1, 3}
        [heard] = await next_of(exact, 1)
    assert (heard.topic, heard.sender_id, heard.message_type) == ("orders.created", "alice", "orders.created")
    assert (heard.data, heard.number) == ({"n": 1}, 2)


async def test_a_subscription_from_the_beginning_reads_what_is_retained(system):
    """Batches keep their order, and every message has its number."""
    alice, bob = await system.client("alice"), await system.client("bob")
    receipts = await alice.publish_many("orders.created", [{"n": n} for n in range(300)])
    assert {receipt.decision for receipt in receipts} == {Decision.ALLOWED}
    async with bob.subscribe("orders.>", start="beginning") as messages:
        heard = await next_of(messages, 300)
        assert messages.gaps == []
    assert [(m.data["n"], m.number) for m in heard] == [(n, n + 1) for n in range(300)]
    async with bob.subscribe("orders.>", start=299) as messages:
        assert [m.data["n"] for m in await next_of(messages, 2)] == [298, 299]


async def test_who_may_not_is_told_by_which_rule_it_could(system):
    """Publishing and subscribing are permissions of their own, and nothing is allowed without one."""
    bob, carol = await system.client("bob"), await system.client("carol")
    with pytest.raises(Forbidden) as refused:
        await bob.publish("orders.created", {})
    assert "mas rbac allow bob topic:orders.created --action publish" in refused.value.hint
    with pytest.raises(Forbidden) as refused:
        await carol.subscribe("orders.created").start()
    assert "mas rbac allow carol topic:orders.created --action subscribe" in refused.value.hint
    with pytest.raises(Forbidden):
        await carol.subscribe("orders.>").start()
    with pytest.raises(InvalidIdentifier):
        bob.subscribe("orders.>.x")
    denied = [record.target for record in await system.audit(decision="denied")]
    assert denied == ["topic:orders.created", "topic:orders.created", "topic:orders.>"]


class Order(BaseModel):
    """What is published."""

    n: int


class Shop(Recorder):
    """Hears orders."""

    @Agent.subscribe("orders.*", durable=True, model=Order)
    async def on_order(self, message, order):
        """Keep it."""
        await self.update_state({"sum": self.state.get("sum", 0) + order.n})
        self.messages.append(message)


async def test_handlers_hear_topics_and_keep_state(system):
    """A handler gets the model of the payload, and the state that it leaves is kept."""
    shop = await system.run("bob", Shop)
    alice = await system.client("alice")
    await alice.publish_many("orders.created", [{"n": n} for n in range(5)])
    await until(lambda: len(shop.messages) >= 5)
    assert sorted(shop.numbers) == [0, 1, 2, 3, 4]
    await until(lambda: shop.state.get("sum") == 10)


async def test_an_agent_that_may_not_start_is_not_waited_for(system):
    """Its instance is gone when its start fails: who asks it is told at once that nobody answers."""
    await system.allow(("alice", "carol"))
    with pytest.raises(Forbidden) as refused:
        await system.run("carol", Shop)
    assert any("try: mas rbac allow carol" in note for note in refused.value.__notes__)
    with pytest.raises(NoResponder):
        await (await system.client("alice")).request("carol", "order.get", timeout=20)


@pytest.fixture
async def small(server_url):
    """The same on a real server, where logs keep ten messages and those of `jobs` refuse more than 64 KB."""
    retention = {"jobs.*": {"max_bytes": 65536, "when_full": "refuse"}}
    async with live_system(
        server_url, agents=["alice", "bob", "carol"], topics={"max_messages": 10, "retention": retention}
    ) as opened:
        await opened.allow(("alice", "topic:orders.>"), ("alice", "topic:jobs.*"), action="publish")
        await opened.allow(("bob", "topic:orders.>"), ("carol", "topic:orders.>"), action="subscribe")
        yield opened


async def test_a_durable_subscriber_goes_on_where_it_stopped_and_hears_of_gaps(small):
    """What was published meanwhile comes, also of topics that are new; what was trimmed is told as a gap."""
    alice, bob = await small.client("alice"), await small.client("bob")
    await alice.publish("orders.created", {"n": 0})
    async with bob.subscribe("orders.>", durable=True) as messages:
        for n in range(1, 4):
            await alice.publish("orders.created", {"n": n})
        assert [m.data["n"] for m in await next_of(messages, 2)] == [1, 2]
    # The third was read and not handled; these come while nobody is there.
    await alice.publish("orders.created", {"n": 4})
    await alice.publish("orders.closed", {"n": 5})
    async with bob.subscribe("orders.>", durable=True) as messages:
        assert sorted(m.data["n"] for m in await next_of(messages, 3)) == [3, 4, 5]
    for n in range(20):
        await alice.publish("orders.created", {"n": n})
    gaps = []
    later = await small.client("bob")
    async with later.subscribe("orders.>", durable=True, on_gap=gaps.append) as messages:
        heard = await next_of(messages, 10)
    assert [m.number for m in heard] == list(range(16, 26))
    assert [(gap.topic, gap.first, gap.last) for gap in gaps] == [("orders.created", 6, 15)]
    assert gaps == messages.gaps


async def test_instances_share_a_durable_subscription_and_take_over_what_a_dead_one_held(small, monkeypatch):
    """Each message goes to one instance; one that was killed in the middle of it loses nothing."""
    alice = await small.client("alice")
    first, second = await small.client("bob"), await small.client("bob")
    held = first.subscribe("orders.*", durable=True)
    await held.start()
    await alice.publish("orders.created", {"n": 1})
    assert [m.data["n"] for m in await next_of(held, 1)] == [1]
    # It is killed here: it reads no more and acknowledges nothing.
    held.reader.kill()
    async with second.subscribe("orders.*", durable=True) as messages:
        await alice.publish("orders.created", {"n": 2})
        assert [m.data["n"] for m in await next_of(messages, 1)] == [2]
        monkeypatch.setattr("mas_core.agent.log_reader.GONE_MS", -1)
        await messages.reader.look_after()
        assert [(m.data["n"], m.number) for m in await next_of(messages, 1)] == [(1, 1)]


async def test_who_loses_the_permission_cannot_open_what_is_published_afterwards(small):
    """The key is replaced before anything more is sealed; who may still read gets the new one at once."""
    alice, bob, carol = [await small.client(name) for name in ("alice", "bob", "carol")]
    async with bob.subscribe("orders.*") as hers, carol.subscribe("orders.*") as his:
        await alice.publish("orders.created", {"n": 1})
        for messages in (hers, his):
            assert [m.data["n"] for m in await next_of(messages, 1)] == [1]
        keys = dict(his.reader.places["orders.created"]._keys)
        rules = [rule for rule in (await small.system.policy.load()).rules if rule.sender != "carol"]
        await small.change_policy(rules=tuple(rules))
        await alice.publish("orders.created", {"n": 2})
        assert [m.data["n"] for m in await next_of(hers, 1)] == [2]
        await until(lambda: "orders.created" not in his.reader.places)
        assert not his._waiting
    [newest] = [entry for entry in await read_log(small, "orders.created") if entry.entry == "2-0"]
    assert [key for key in keys.values() if opens(key, newest)] == []
    [replaced] = [record for record in await small.audit(kind="topic.key") if record.details.get("lost")]
    assert (replaced.target, replaced.details["lost"]) == ("topic:orders.created", ["carol"])


async def test_who_is_revoked_or_quarantined_loses_the_key_too(small):
    """A key is held by a token: once that counts no more, the next message is sealed under another one."""
    alice = await small.client("alice")
    carol = await small.client("carol")
    await carol.subscribe("orders.*").start()
    await alice.publish("orders.created", {"n": 1})
    await until(lambda: carol.topics._subscriptions[0].reader.places)
    await standings.set_standing(small.system, ["carol"], "quarantined", reason="test", wait=0)
    await alice.publish("orders.created", {"n": 2})
    first, second = await read_log(small, "orders.created")
    assert generation_of(first) != generation_of(second)


async def test_a_forged_entry_is_dropped_and_reported(small):
    """What no gateway sealed never reaches a handler, whoever put it there, and the audit says so."""
    alice, bob = await small.client("alice"), await small.client("bob")
    async with bob.subscribe("orders.*") as messages, bob.subscribe("orders.>", durable=True) as kept:
        await alice.publish("orders.created", {"n": 1})
        await next_of(messages, 1)
        await next_of(kept, 1)
        [entry] = await read_log(small, "orders.created")
        log = small.store.keys.topic(0, "orders.created")
        header, body = entry.frame.header, entry.frame.body
        for forged in (
            ("h", header, "b", body),
            ("h", b"\x00", "b", b"x"),
            ("h", header, "b", body[:-1] + b"?"),
        ):
            await small.store.connection.call("XADD", log, "1-*", *forged)
        await small.store.connection.call("XADD", log, "90-0", "h", header, "b", body)
        await alice.publish("orders.created", {"n": 2})
        assert [(m.data["n"], m.number) for m in await next_of(messages, 1)] == [(2, 2)]
        assert [(m.data["n"], m.number) for m in await next_of(kept, 1)] == [(2, 2)]
    reports = await small.audit(kind="topic.report", decision="unauthenticated")
    assert {record.target for record in reports} == {"topic:orders.created"}
    assert {record.details["entry"] for record in reports} >= {"1-1", "1-2", "1-3"}
    assert await small.audit_holds()


async def test_a_full_log_refuses_where_it_is_set_to(small):
    """Back-pressure instead of loss, and room again when the oldest have grown too old."""
    alice = await small.client("alice")
    receipts = await alice.publish_many("jobs.new", [{"text": "x" * 10_000} for _ in range(10)])
    decisions = [receipt.decision for receipt in receipts]
    assert decisions == [Decision.ALLOWED] * 6 + [Decision.BACKPRESSURE] * 4
    with pytest.raises(Backpressure) as refused:
        await alice.publish("jobs.new", {"text": "x" * 10_000})
    assert refused.value.details["rule"] == "topic_full"
    assert (await small.store.topics.sizes(0))["jobs.new"] <= 65536


async def test_one_message_to_many_subscribers_is_written_once(small):
    """Twenty subscribers, one entry in one log, and its payload there once."""
    alice, bob = await small.client("alice"), await small.client("bob")
    subscriptions = [bob.subscribe("orders.*") for _ in range(20)]
    for messages in subscriptions:
        await messages.start()
    await alice.publish("orders.created", {"text": "y" * 5000})
    for messages in subscriptions:
        assert [len(m.data["text"]) for m in await next_of(messages, 1)] == [5000]
    [facts] = await small.store.topics.facts(0, ["orders.created"], 0)
    assert (facts.entries, facts.recent) == (1, 1)
    assert 5000 < (await small.store.topics.sizes(0))["orders.created"] < 6000


async def test_topics_take_no_requests_and_no_reserved_types(small):
    """A topic is no agent: it answers nobody, and what subscribes is not published."""
    alice = await small.client("alice")
    with pytest.raises((Refused, InvalidPayload)):
        await alice.request("topic:orders.created", "x", {}, timeout=5)
    with pytest.raises((Refused, InvalidPayload)):
        await alice.send("topic:orders.created", "topic.subscribe", {})


async def test_a_gateway_that_takes_over_goes_on_with_the_same_topics(small):
    """Numbers, keys and places are in the store; a new owner repeats and loses nothing."""
    alice, bob = await small.client("alice"), await small.client("bob")
    async with bob.subscribe("orders.>", durable=True) as messages:
        await alice.publish("orders.created", {"n": 1})
        await next_of(messages, 1)
        await small.gateways[0].stop()
        await small.start_gateway()
        await alice.publish("orders.created", {"n": 2})
        assert [(m.data["n"], m.number) for m in await next_of(messages, 1)] == [(2, 2)]
        assert messages.gaps == []
    first, second = await read_log(small, "orders.created")
    assert generation_of(first) == generation_of(second)


async def read_log(live, topic):
    """All entries of a log, as they lie there."""
    return await live.store.topics.read(0, {topic: "0-0"}, 10)


def opens(key, entry):
    """Whether a key opens an entry."""
    try:
        key.open(entry.frame)
    except DecryptionFailed:
        return False
    return True


def generation_of(entry):
    """Which key an entry is sealed under."""
    return msgspec.msgpack.decode(entry.frame.header, type=TopicHeader).generation


async def test_a_broadcast_goes_to_all_who_may_get_it_and_tells_what_became_of_each(small):
    """One payload, a message and a decision for each target; capabilities choose, rules refuse."""
    await small.register("dora")
    await small.allow(("alice", "bob"), ("alice", "carol"))
    await small.system.policy.change(
        lambda document: add_rule(document, Rule("", "deny", "alice", "carol", type="notice"))
    )
    bob = await small.run("bob", capabilities=["ocr"])
    carol = await small.run("carol", capabilities=["ocr"])
    await small.run("dora", capabilities=["ocr"])
    alice = await small.run("alice")
    receipt = await alice.broadcast("notice", {"n": 1})
    assert (receipt.delivered, list(receipt.refused), len(receipt)) == (["bob"], ["carol"], 2)
    assert receipt.refused["carol"].decision is Decision.DENIED
    assert (await alice.broadcast("other", {"n": 2}, capability="ocr")).delivered == ["bob", "carol"]
    assert len(await alice.broadcast("other", {"n": 3}, capability="mri")) == 0
    await until(lambda: (bob.numbers, carol.numbers) == ([1, 2], [2]))


async def test_a_place_that_is_given_up_is_forgotten(small):
    """Nothing is kept for a pattern that the agent has forgotten: it begins anew."""
    alice, bob = await small.client("alice"), await small.client("bob")
    async with bob.subscribe("orders.*", durable=True) as messages:
        await alice.publish("orders.created", {"n": 1})
        await next_of(messages, 1)
    await bob.topics.forget("orders.*")
    await alice.publish("orders.created", {"n": 2})
    async with bob.subscribe("orders.*", durable=True) as messages:
        await alice.publish("orders.created", {"n": 3})
        assert [m.data["n"] for m in await next_of(messages, 1)] == [3]


class Clumsy(Recorder):
    """Fails on what it hears, at first or always."""

    @Agent.subscribe("orders.*", durable=True, retry=RetryPolicy(strategy="fixed", base=0.01, attempts=2))
    async def on_order(self, message):
        """Note the attempt."""
        self.messages.append(message)
        if message.data["n"] == 2 or len(self.messages) == 1:
            raise ValueError


async def test_a_handler_that_fails_runs_again_and_then_the_message_is_reported(small):
    """What cannot be handled stops nothing: it is tried again, recorded, and the next one comes."""
    clumsy = await small.run("bob", Clumsy, max_in_flight=1)
    alice = await small.client("alice")
    for n in (1, 2, 3):
        await alice.publish("orders.created", {"n": n}, message_id=f"order-{n}")
    await until(lambda: clumsy.numbers == [1, 1, 2, 2, 3])
    async with asyncio.timeout(10):
        while not (reports := await small.audit(kind="topic.report")):
            await asyncio.sleep(0.02)
    [report] = reports
    assert (report.message_id, report.details["code"], report.sender) == ("order-2", "handler_failed", "bob")


async def test_topics_move_with_their_partitions(server_url):
    """Logs, numbers, keys and places are where they belong afterwards; subscribers follow and miss nothing."""
    topics = [f"orders.n{number}" for number in range(6)]
    assert len({partition_of_topic(topic, 3) for topic in topics}) == 3
    async with live_system(server_url, agents=["alice", "bob"]) as live:
        await live.allow(("alice", "topic:orders.*"), ("bob", "topic:orders.*"))
        alice, bob, away = [await live.client(name) for name in ("alice", "bob", "bob")]
        async with bob.subscribe("orders.*") as messages:
            async with away.subscribe("orders.*", durable=True) as kept:
                for topic in topics:
                    await alice.publish(topic, {"n": 1})
                assert len(await next_of(messages, 6)) == len(await next_of(kept, 6)) == 6
            async with System(live.system.target) as operator:
                await partitions.set_partitions(operator, 3)
            for topic in topics:
                await alice.publish(topic, {"n": 2})
            heard = await next_of(messages, 6)
            assert sorted((m.topic, m.number) for m in heard) == [(topic, 2) for topic in topics]
            assert messages.gaps == []
        later = await live.client("bob")
        await alice.publish("orders.new", {"n": 1})
        async with later.subscribe("orders.*", durable=True) as kept:
            heard = await next_of(kept, 7)
        expected = [("orders.new", 1), *((topic, 2) for topic in topics)]
        assert sorted((m.topic, m.number) for m in heard) == sorted(expected)
        assert kept.gaps == []


async def test_topics_lie_on_all_nodes_of_a_cluster(cluster):
    """A pattern reads logs of several partitions at once, live and from a durable place."""
    topics = [f"orders.n{number}" for number in range(6)]
    async with live_system(cluster.url, agents=["alice", "bob"]) as live:
        await live.allow(("alice", "topic:orders.*"), ("bob", "topic:orders.*"))
        alice, bob = await live.client("alice"), await live.client("bob")
        async with bob.subscribe("orders.*") as messages, bob.subscribe("orders.>", durable=True) as kept:
            for topic in topics:
                await alice.publish(topic, {"n": 1})
            for subscription in (messages, kept):
                assert sorted(m.topic for m in await next_of(subscription, 6)) == topics
        assert len(await list_topics(live.system)) == 6


async def test_nothing_is_lost_while_keys_are_replaced_and_connections_cut():
    """Who may read hears everything once and in order, live and durable, whatever happens around it."""
    async with embedded_server() as server, live_system(server.url, agents=["alice", "bob", "carol"]) as live:
        await live.allow(("alice", "topic:orders.*"), ("bob", "topic:orders.*"))
        alice, bob, carol = [await live.client(name) for name in ("alice", "bob", "carol")]
        async with bob.subscribe("orders.*") as messages, bob.subscribe("orders.>", durable=True) as kept:
            published = []
            is_over = asyncio.Event()

            async def publish():
                while not is_over.is_set():
                    n = len(published)
                    published.append(await alice.publish("orders.created", {"n": n}, message_id=f"order-{n}"))

            publishing = asyncio.create_task(publish())
            for _ in range(3):
                [rule] = await rbac.add_rules(live.system, "allow", "carol", ["topic:orders.*"])
                async with carol.subscribe("orders.*", start="beginning") as hers:
                    await next_of(hers, 1)
                await rbac.revoke(live.system, [rule.id])
                count = len(published) + 5
                await live.store.connection.call("CLIENT", "KILL", "TYPE", "normal")
                await until(lambda count=count: len(published) >= count)
            is_over.set()
            await publishing
            for subscription in (messages, kept):
                heard = await next_of(subscription, len(published))
                assert [m.data["n"] for m in heard] == list(range(len(published)))
                assert subscription.gaps == []
        lost = [record for record in await live.audit(kind="topic.key") if record.details.get("lost")]
        assert len(lost) == 3
        assert await live.audit_holds()


async def test_an_agent_keeps_a_bounded_number_of_places_and_is_refused_on_record_once(small):
    """Whoever may subscribe cannot fill the store with places, nor the audit with refusals."""
    bob, carol = await small.client("bob"), await small.client("carol")
    ask = bob.topics._ask
    for part in range(2):
        patterns = [f"orders.{part}.{n}" for n in range(100)]
        await ask(SUBSCRIBE, {"durable": patterns}, "route")
    with pytest.raises(Backpressure):
        await ask(SUBSCRIBE, {"durable": ["orders.more"]}, "route")
    await ask(SUBSCRIBE, {"forget": ["orders.0.0"], "durable": ["orders.more"]}, "route")
    for _ in range(3):
        await carol.topics._ask(SUBSCRIBE, {"live": ["secrets.>"]}, "route")
    assert len(await small.audit(kind="topic.subscribe")) == 1


@pytest.mark.parametrize("key", ["topics", "topic_sizes"])
async def test_spoiled_records_of_topics_stop_topics_only(small, key):
    """Whoever writes something else there stops no agent's messages; once it is gone topics go on."""
    await small.allow(("alice", "bob"))
    alice, bob = await small.client("alice"), await small.run("bob")
    await alice.publish("orders.created", {"n": 1})
    name = getattr(small.store.keys, key)(0)
    await small.store.connection.call("RENAME", name, f"{name}:aside")
    await small.store.connection.call("SET", name, "nonsense")
    with pytest.raises(StoreFull):
        await alice.publish("orders.created", {"n": 2})
    with pytest.raises(StoreFull):
        await bob.listen("orders.*").start()
    assert (await alice.send("bob", "x", {"n": 3})).decision is Decision.ALLOWED
    await until(lambda: bob.numbers == [3])
    await small.store.connection.call("RENAME", f"{name}:aside", name)
    async with asyncio.timeout(10):
        while True:
            try:
                await alice.publish("orders.created", {"n": 4})
                break
            except StoreFull:
                await asyncio.sleep(0.1)
    assert [entry.entry for entry in await read_log(small, "orders.created")] == ["1-0", "2-0"]


async def test_a_script_publishes_without_a_loop(small):
    """From a thread of its own; publishing again under the same id has no second effect."""
    bob = await small.client("bob")

    def script():
        options = {"redis_url": small.system.target.url, "namespace": small.store.namespace}
        with SyncClient("alice", token=small.tokens["alice"], **options) as client:
            for _ in range(2):
                client.publish("orders.created", {"n": 1}, message_id="order-1")
            client.publish("orders.created", {"n": 2})

    async with bob.subscribe("orders.created") as messages:
        await asyncio.to_thread(script)
        assert [(m.data["n"], m.number) for m in await next_of(messages, 2)] == [(1, 1), (2, 2)]


class Slow(Recorder):
    """Takes a while for each order."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.may_end = asyncio.Event()

    @Agent.subscribe("orders.*", durable=True)
    async def on_order(self, message):
        """Wait until it may end."""
        await self.may_end.wait()
        self.messages.append(message)


async def test_a_paused_agent_hears_nothing_and_one_that_stops_finishes_what_it_has_begun(small):
    """What an operator says counts for topics as for inboxes; what was not begun goes to the next instance."""
    slow = await small.run("bob", Slow, max_in_flight=1)
    alice = await small.client("alice")
    await standings.set_standing(small.system, ["bob"], "paused", reason="test")
    slow.may_end.set()
    await alice.publish("orders.created", {"n": 1})
    await asyncio.sleep(0.2)
    assert slow.numbers == []
    await standings.set_standing(small.system, ["bob"], "active")
    await until(lambda: slow.numbers == [1])
    slow.may_end.clear()
    for n in (2, 3):
        await alice.publish("orders.created", {"n": n})
    await until(lambda: slow._listeners.in_hand == 1)
    asyncio.get_running_loop().call_later(0.1, slow.may_end.set)
    assert await slow.stop()
    assert slow.numbers == [1, 2]
    after = await small.run("bob", Slow)
    after.may_end.set()
    await until(lambda: after.numbers == [3])


async def test_subscribers_follow_a_topic_whose_log_was_lost(small):
    """After a store was restored or emptied a topic counts from 1 again, and nobody waits for old numbers."""
    alice, bob = await small.client("alice"), await small.client("bob")
    async with bob.subscribe("orders.*") as messages, bob.subscribe("orders.>", durable=True) as kept:
        for n in range(3):
            await alice.publish("orders.created", {"n": n})
        for subscription in (messages, kept):
            await next_of(subscription, 3)
        keys = small.store.keys
        lost = (keys.topics(0), keys.topic_sizes(0), keys.topic(0, "orders.created"))
        await small.store.connection.call("DEL", *lost)
        await small.change_policy(ceilings={"alice": 9})
        await alice.publish("orders.created", {"n": 9})
        for subscription in (messages, kept):
            assert [(m.data["n"], m.number) for m in await next_of(subscription, 1)] == [(9, 1)]
