"""Priorities: the urgent first, the others in their share, and no more urgent than one may be."""

import asyncio

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import MessageExpired
from mas_core.model.frame import MAX_UNANSWERED_FRAMES
from mas_core.model.priority import LANE_WEIGHTS

LOWEST_SHARE = LANE_WEIGHTS["low"] / sum(LANE_WEIGHTS.values())


@pytest.fixture
async def system(server_url):
    """alice and carol may talk to bob; no gateway runs yet."""
    async with live_system(
        server_url, agents=["alice", "bob", "carol"], allow=[("alice", "bob"), ("carol", "bob")], gateways=0
    ) as opened:
        yield opened


async def send_all(client, priority, numbers, **options):
    results = await asyncio.gather(
        *(client.send("bob", "x", {"n": n}, priority=priority, timeout=60, **options) for n in numbers)
    )
    return list(results)


def lanes(records):
    """Lane of each record, by the number of its message."""
    return [record.message_id.partition("-")[0] for record in records]


async def flood(client, counts):
    """Put messages of several priorities into the ingress before anybody takes them."""
    tasks = []
    for priority, (name, count) in counts.items():
        for n in range(count):
            tasks.append(
                asyncio.create_task(
                    client.send("bob", "x", {"n": n}, priority=priority, message_id=f"{name}-{n}", timeout=60)
                )
            )
    await asyncio.sleep(0.3)
    return tasks


async def drip(client, count):
    """The same in frames of one message each, with no priority."""
    tasks = []
    for n in range(count):
        sending = client.send(
            "bob", "x", {"n": n}, priority=0, message_id=f"low-{client.instance}-{n}", timeout=60
        )
        tasks.append(asyncio.create_task(sending))
        await asyncio.sleep(0.005)
    return tasks


async def test_r20_the_lowest_lane_gets_its_share_while_high_is_full(system):
    """At the gateway: of every stretch of records, as long as low has some (R20, P7)."""
    alice, *carols = [await system.client(name) for name in ("alice", *["carol"] * 10)]
    tasks = await flood(alice, {10: ("high", 3000)})
    for one in await asyncio.gather(*(drip(carol, MAX_UNANSWERED_FRAMES) for carol in carols)):
        tasks += one
    await system.start_gateway()
    await asyncio.gather(*tasks)

    order = lanes(await system.audit(kind="message", target="bob"))
    last_low = len(order) - 1 - order[::-1].index("low")
    contested = order[: last_low + 1]
    assert "high" in order[last_low:], "low must not have come last"
    # One frame of high may be ahead.
    assert contested.count("low") >= (len(contested) - 256) * LOWEST_SHARE
    assert contested.count("high") > contested.count("low")


async def test_r20_a_busy_receiver_starves_no_lane(system):
    """In the inbox: frames of many urgent messages do not keep back single ones of no urgency (R20)."""
    await system.start_gateway()
    alice, carol = [await system.client(name) for name in ("alice", "carol")]
    await send_all(alice, 10, range(3000))
    for n in range(60):
        await carol.send("bob", "x", {"n": n}, priority=0)
    await send_all(alice, 5, range(500))

    class Slow(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            if len(self.messages) % 10 == 0:
                await asyncio.sleep(0)

    bob = await system.run("bob", Slow)
    await until(lambda: len(bob.messages) == 3560, 30)

    order = [message.priority for message in bob.messages]
    last_low = len(order) - 1 - order[::-1].index(0)
    contested = order[: last_low + 1]
    assert contested.count(10) > 0 < contested.count(5)
    assert contested.count(0) >= (len(contested) - 256) * LOWEST_SHARE


async def test_r20_no_message_overtakes_another_of_its_sender_and_priority(system):
    """First in, first out for each sender, target and priority, under a mix of all (R20)."""
    await system.start_gateway()
    clients = [await system.client(name) for name in ("alice", "carol")]
    bob = await system.run("bob")
    await asyncio.gather(
        *(send_all(client, priority, range(150)) for client in clients for priority in (0, 1, 4, 5, 8, 10))
    )
    await until(lambda: len(bob.messages) == 1800, 30)

    for sender in ("alice", "carol"):
        for priority in (0, 1, 4, 5, 8, 10):
            numbers = [
                message.data["n"]
                for message in bob.messages
                if (message.sender_id, message.priority) == (sender, priority)
            ]
            assert numbers == list(range(150))


async def test_s34_messages_above_the_ceiling_are_lowered_and_say_so(system):
    """By receipt, audit and delivery; own ceilings win over those of roles, and those over everybody's (S34)."""
    await system.start_gateway()
    await system.change_policy(
        roles={"workers": ("alice", "carol")}, ceilings={"role:workers": 5, "carol": 8, "*": 2}
    )
    alice, carol = [await system.client(name) for name in ("alice", "carol")]
    bob = await system.run("bob")
    lowered = await alice.send("bob", "x", {}, priority=10)
    within = await alice.send("bob", "x", {}, priority=5)
    own = await carol.send("bob", "x", {}, priority=10)
    await until(lambda: len(bob.messages) == 3)

    assert lowered.decision == "allowed"
    assert lowered.reason == "the priority 10 was lowered to 5, the highest of alice"
    assert (within.reason, own.reason) == ("", "the priority 10 was lowered to 8, the highest of carol")
    assert sorted(message.priority for message in bob.messages) == [5, 5, 8]
    assert sorted(record.reason for record in await system.audit(kind="message")) == sorted(
        [lowered.reason, "", own.reason]
    )


async def test_s34_one_who_marks_everything_urgent_does_not_hold_up_others(system):
    """Lowered messages are delivered in the lane of their ceiling (S34)."""
    await system.start_gateway()
    await system.change_policy(ceilings={"alice": 0})
    alice, carol = [await system.client(name) for name in ("alice", "carol")]
    await send_all(alice, 10, range(600))
    await carol.send("bob", "x", {"n": 0}, priority=10)
    bob = await system.run("bob", max_in_flight=1)
    await until(lambda: len(bob.messages) == 601, 30)

    assert "carol" in [message.sender_id for message in bob.messages[:10]]


async def test_weights_of_lanes_are_settings(server_url):
    """And all lanes are alike where priorities are switched off (P12)."""
    for options, weights in (
        ({"priority_queue": {"high": 4, "normal": 2, "low": 2}}, {"high": 4, "normal": 2, "low": 2}),
        ({"features": {"priority_queue": False}}, {"high": 1, "normal": 1, "low": 1}),
    ):
        async with live_system(
            server_url, agents=["alice", "bob"], allow=[("alice", "bob")], gateways=0, **options
        ) as system:
            assert system.settings.lane_weights == weights
            alice = await system.client("alice")
            tasks = await flood(alice, {10: ("high", 1500), 0: ("low", 1500)})
            await system.start_gateway()
            await asyncio.gather(*tasks)

            order = lanes(await system.audit(kind="message"))[:1500]
            share = weights["low"] / (weights["low"] + weights["high"])
            assert order.count("low") >= (1500 - 512) * share
            assert order.count("high") >= (1500 - 512) * (1 - share)


async def test_a_message_that_waited_too_long_for_a_gateway_has_expired(system):
    """Time to live counts from when the message reached the server, by the server's clock (M5)."""
    alice = await system.client("alice")
    sending = asyncio.create_task(alice.send("bob", "x", {}, ttl=0.3, timeout=30))
    lasting = asyncio.create_task(alice.send("bob", "y", {}, ttl=30, timeout=30, priority=0))
    await asyncio.sleep(0.6)
    await system.start_gateway()

    with pytest.raises(MessageExpired):
        await sending
    assert (await lasting).decision == "allowed"
    (record,) = await system.audit(decision="expired")
    assert (record.sender, record.target, record.type) == ("alice", "bob", "x")


async def test_a_message_that_waited_too_long_in_the_inbox_is_not_handled(system):
    """The receiver hands it back as expired, and it becomes a dead letter (M5)."""
    await system.start_gateway()
    alice = await system.client("alice")
    await alice.send("bob", "x", {"n": 1}, ttl=0.3)
    await alice.send("bob", "x", {"n": 2}, ttl=30)
    await asyncio.sleep(0.5)
    bob = await system.run("bob")

    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))
    await until(lambda: bob.numbers == [2])
    assert dead.reason.startswith("expired")
    assert await system.store.records.dead_letters() == 1
