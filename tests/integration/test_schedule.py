"""Messages that are sent for later: delivered once when they are due, under the policy of that moment."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import (
    Backpressure,
    Conflict,
    Forbidden,
    InvalidPayload,
    MessageExpired,
    ScheduleNotFound,
    UsageError,
)
from mas_core.model.decision import Decision
from mas_core.model.message import Flag
from mas_core.model.policy import Rule
from mas_core.ops import agents, approvals, schedule
from mas_core.ops.dead_letters import list_letters
from mas_core.security.policy_changes import add_rule
from mas_core.store.partitions import PartitionStore

SOON_S = 0.4


@pytest.fixture
async def system(server_url):
    """alice and carol may talk to bob."""
    pairs = [("alice", "bob"), ("carol", "bob")]
    async with live_system(server_url, agents=["alice", "bob", "carol"], allow=pairs) as opened:
        yield opened


async def server_now(system):
    return datetime.fromtimestamp(await system.store.connection.time_ms() / 1000, UTC)


async def test_what_is_sent_for_later_comes_when_it_is_due(system):
    """By time or after a time; the receipt says when, and the audit both that it was scheduled and delivered."""
    bob = await system.run("bob")
    alice = await system.run("alice")
    at = await server_now(system) + timedelta(seconds=SOON_S)

    by_time = await alice.send("bob", "x", {"n": 1}, deliver_at=at, delivery="exactly_once")
    after = await alice.send("bob", "x", {"n": 2}, deliver_after=SOON_S + 0.1, ttl=5)
    now = await alice.send("bob", "x", {"n": 3})
    waiting = await schedule.list_scheduled(system.system)
    await until(lambda: bob.messages)
    before = [message.data["n"] for message in bob.messages]
    await until(lambda: len(bob.messages) == 3)

    assert (by_time.decision, after.decision, now.decision) == ("scheduled", "scheduled", "allowed")
    assert by_time.deliver_at == int(at.timestamp() * 1000)
    assert [item.facts.message_id for item in waiting] == [by_time.message_id, after.message_id]
    assert waiting[0].facts.delivery == "exactly_once"
    assert (before, sorted(bob.numbers)) == ([3], [1, 2, 3])
    (first,) = (message for message in bob.messages if message.data["n"] == 1)
    assert first.timestamp == pytest.approx(at.timestamp(), abs=0.001)
    assert await schedule.list_scheduled(system.system) == []
    delivered = await system.audit(kind="schedule.delivered")
    assert [record.message_id for record in delivered] == [by_time.message_id, after.message_id]
    assert all(record.time >= record.details["deliver_at"] for record in delivered)
    assert [record.decision for record in await system.audit(kind="message", sender="alice")] == [
        "scheduled",
        "scheduled",
        "allowed",
    ]
    assert await system.audit_holds()


async def test_what_cannot_be_sent_for_later_is_refused(system):
    """By the client where it can know, and by the gateway whatever a client says."""
    alice = await system.client("alice")
    at = datetime.now(UTC) + timedelta(hours=1)
    for wrong in (
        {"deliver_at": at, "deliver_after": 5.0},
        {"deliver_at": at.replace(tzinfo=None)},
        {"deliver_after": -1.0},
        {"deliver_after": 367 * 24 * 3600.0},
    ):
        with pytest.raises(UsageError):
            await alice.send("bob", "x", {}, **wrong)
    for flags, deliver_at, delay_ms in (
        (Flag.SCHEDULED, 0, 0),
        (Flag.SCHEDULED, 1, 1),
        (Flag.SCHEDULED, -5, 0),
        (Flag.SCHEDULED, 2**60, 0),
        (Flag.SCHEDULED | Flag.EXPECTS_REPLY, 0, 1000),
    ):
        envelope = alice._envelopes.make("bob", "x", {}, 5, 60, "", None)
        envelope.flags |= flags
        envelope.deliver_at, envelope.delay_ms = deliver_at, delay_ms
        with pytest.raises(InvalidPayload):
            await alice.submit(envelope)
    with pytest.raises(Forbidden):
        await alice.send("carol", "x", {}, deliver_after=60)
    assert await schedule.list_scheduled(system.system) == []


async def test_what_was_due_already_goes_at_once_or_has_expired(system):
    """Its time to live began when it was due."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    past = await server_now(system) - timedelta(seconds=30)

    at_once = await alice.send("bob", "x", {"n": 1}, deliver_at=past, ttl=120)
    with pytest.raises(MessageExpired):
        await alice.send("bob", "x", {"n": 2}, deliver_at=past, ttl=20)
    await until(lambda: bob.messages)

    assert at_once.decision == "allowed"
    assert bob.numbers == [1]


async def test_it_is_judged_again_when_it_is_due(system):
    """By the policy in force then: denied, redacted, held; what is refused is a dead letter and not lost."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    text = {"n": 1, "mail": "a@example.org"}
    redacted = await alice.send("bob", "plain", text, deliver_after=1.0)
    held = await alice.send("bob", "secret", {"n": 2}, deliver_after=1.0)
    denied = await alice.send("bob", "banned", {"n": 3}, deliver_after=1.0)

    def edit(document):
        document = add_rule(document, Rule("", "deny", "alice", "bob", type="banned"))
        return add_rule(document, Rule("", "hold", "alice", "bob", type="secret"))

    await system.system.policy.change(edit)
    await system.change_policy(dlp_actions={"email": "redact"})
    await until(lambda: bob.messages)
    (letter,) = await until(lambda: system.audit(kind="delivery.dead"))
    (waiting,) = await approvals.list_waiting(system.system)
    await approvals.decide(system.system, waiting.facts.approval_id, approved=True)
    await until(lambda: len(bob.messages) == 2)

    assert {redacted.decision, held.decision, denied.decision} == {"scheduled"}
    assert bob.messages[0].data["mail"] != text["mail"]
    assert bob.messages[1].message_id == held.message_id == waiting.facts.message_id
    assert letter.message_id == denied.message_id
    assert letter.reason.endswith("when it was due")
    found = {item.facts.message_id: item.facts for item in (await list_letters(system.system)).letters}
    assert found[denied.message_id].code == "denied"
    (delivered,) = await system.audit(kind="schedule.delivered")
    (was_held,) = await system.audit(kind="schedule.held")
    assert (delivered.decision, was_held.details["approval"]) == ("redacted", waiting.facts.approval_id)


async def test_s5_nothing_is_delivered_of_a_token_that_was_revoked_meanwhile(system):
    """What it had sent for later is a dead letter."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    receipt = await alice.send("bob", "x", {"n": 1}, deliver_after=0.8)
    await agents.revoke_token(system.system, "alice")
    (letter,) = await until(lambda: system.audit(kind="delivery.dead"))

    assert letter.message_id == receipt.message_id
    assert letter.reason.startswith("Authentication failed")
    assert bob.messages == []


async def test_it_expires_when_nobody_can_take_it_in_time(system):
    """Its time to live begins when it is due; a full inbox is tried again until then (M5)."""
    for gateway in system.gateways:
        await gateway.stop()
    system.settings = system.settings.model_copy(update={"inbox_bound": 1})
    await system.start_gateway()
    alice = await system.client("alice")
    await alice.send("bob", "x", {"n": 0})
    late = await alice.send("bob", "x", {"n": 1}, deliver_after=0.3, ttl=0.5)
    lasting = await alice.send("bob", "x", {"n": 2}, deliver_after=0.3, ttl=60)
    (letter,) = await until(lambda: system.audit(kind="delivery.dead"))
    (still,) = await schedule.list_scheduled(system.system)
    bob = await system.run("bob")
    await until(lambda: bob.numbers == [0, 2])

    assert letter.message_id == late.message_id
    assert letter.reason == "its time to live ended before it could be delivered"
    assert still.facts.message_id == lasting.message_id
    assert still.due_in < 0


async def test_cancelled_messages_are_never_delivered(system):
    """The audit says who cancelled and why; what is unknown, ambiguous or too late is told apart."""
    bob = await system.run("bob")
    alice, carol = await system.client("alice"), await system.client("carol")
    first = await alice.send("bob", "x", {"n": 1}, deliver_after=1.2)
    await alice.send("bob", "x", {"n": 2}, deliver_after=3600, message_id="same")
    await carol.send("bob", "x", {"n": 3}, deliver_after=3600, message_id="same")

    done = await schedule.cancel(system.system, [first.message_id, "same", "nobody"], reason="sold out")
    again = await schedule.cancel(system.system, [first.message_id])
    one = await schedule.cancel(system.system, ["bob/carol/same"])
    shown = await schedule.get(system.system, "same")
    text = await schedule.payload(system.system, "same")
    await asyncio.sleep(1.2)

    assert [item.error and type(item.error) for item in done] == [None, Conflict, ScheduleNotFound]
    assert isinstance(again[0].error, ScheduleNotFound)
    assert (one[0].error, shown.facts.sender, text) == (None, "alice", {"n": 2})
    assert bob.messages == []
    records = await system.audit(kind="schedule.cancelled")
    assert [(record.message_id, record.reason) for record in records] == [
        (first.message_id, "sold out"),
        ("same", ""),
    ]
    assert all(record.actor for record in records)


async def test_what_is_not_written_by_an_operator_cancels_nothing(system):
    """Nor does putting a message forward: who can write to the server alone neither stops nor hastens it."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    receipt = await alice.send("bob", "x", {"n": 1}, deliver_after=1.5)
    (item,) = await schedule.list_scheduled(system.system)
    keys, name = system.store.keys, f"schedule/{item.id}"
    call = system.store.connection.call
    await call("HSET", keys.scheduled(0), f"cancel:{item.id}", b'{"by":"x","at":1}')
    await call("ZADD", keys.later(0), 1, name)

    async def is_put_back():
        return float(await call("ZSCORE", keys.later(0), name)) == receipt.deliver_at

    await until(is_put_back)
    assert bob.messages == []
    await until(lambda: bob.numbers == [1])


async def test_a_sender_and_all_together_can_have_so_many(server_url):
    """More is back-pressure that says so; also after another gateway has taken over."""
    bounds = {"per_sender": 2, "total": 3}
    async with live_system(
        server_url,
        agents=["alice", "bob", "carol"],
        allow=[("alice", "bob"), ("carol", "bob")],
        schedule=bounds,
    ) as system:
        alice, carol = await system.client("alice"), await system.client("carol")
        tries = [
            alice.send("bob", "x", {"n": number}, deliver_after=3600, message_id=f"m{number}")
            for number in range(3)
        ]
        results = await asyncio.gather(*tries, return_exceptions=True)
        full = [item for item in results if isinstance(item, Backpressure)]
        assert len(full) == 1
        assert "alice has 2 messages scheduled already" in full[0].message
        await carol.send("bob", "x", {}, deliver_after=3600)
        with pytest.raises(Backpressure, match="3 messages are scheduled already"):
            await carol.send("bob", "x", {}, deliver_after=3600)

        for gateway in system.gateways:
            await gateway.stop()
        await system.start_gateway()
        with pytest.raises(Backpressure):
            await alice.send("bob", "x", {}, deliver_after=3600)
        first = (await schedule.list_scheduled(system.system, sender="alice"))[0]
        await schedule.cancel(system.system, [first.id])
        assert (await alice.send("bob", "x", {}, deliver_after=3600)).decision == Decision.SCHEDULED


async def test_the_same_id_is_scheduled_and_delivered_once(system):
    """However often it is sent, also after the gateway's memory of ids is gone."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    first = await alice.send("bob", "x", {"n": 1}, deliver_after=1.5, message_id="m1")
    again = await alice.send("bob", "x", {"n": 9}, deliver_after=0.1, message_id="m1")
    for key in await system.store.connection.call("KEYS", f"{system.store.namespace}:*:seen:*"):
        await system.store.connection.call("DEL", key)
    for gateway in system.gateways:
        await gateway.stop()
    await system.start_gateway()
    third = await alice.send("bob", "x", {"n": 9}, deliver_after=0.1, message_id="m1")
    await until(lambda: bob.messages)
    last = await alice.send("bob", "x", {"n": 9}, message_id="m1")
    await asyncio.sleep(0.3)

    assert first.deliver_at == again.deliver_at == third.deliver_at == last.deliver_at
    assert bob.numbers == [1]


async def test_r1_killed_gateways_deliver_what_is_due_once(server_url):
    """kill -9 while messages become due: each is delivered once, in order, with one record (R1)."""
    async with live_system(
        server_url, agents=["alice", "bob"], allow=[("alice", "bob")], gateways=0
    ) as system:
        process = await system.spawn_gateway()
        bob = await system.run("bob")
        alice = await system.client("alice")
        at = await server_now(system) + timedelta(seconds=1)
        await asyncio.gather(
            *(
                alice.send("bob", "x", {"n": number}, deliver_at=at + timedelta(milliseconds=number))
                for number in range(400)
            )
        )
        for _ in range(3):
            await asyncio.sleep(0.25)
            process.kill()
            await process.wait()
            process = await system.spawn_gateway()
        await until(lambda: len(bob.messages) >= 400, 30)
        await asyncio.sleep(0.5)

        assert sorted(bob.numbers) == list(range(400))
        delivered = await system.audit(kind="schedule.delivered")
        assert len({record.message_id for record in delivered}) == len(delivered) == 400
        assert await schedule.list_scheduled(system.system) == []


class Sending(Recorder):
    """Sends on for later."""

    async def on_message(self, message):
        """Once for each message, however often it is begun."""
        await super().on_message(message)
        await self.send("bob", "made", {"n": 1}, deliver_after=0.5)
        await self.update_state({"done": True})


async def test_a_handler_that_runs_twice_schedules_once(system):
    """Ids of what it sends derive from what it handles."""
    await system.allow(("alice", "carol"))
    bob = await system.run("bob")
    carol = await system.run("carol", Sending)
    alice = await system.client("alice")
    await alice.send("carol", "x", {})
    await until(lambda: bob.messages)
    await asyncio.sleep(0.3)

    assert len(carol.messages) == 2
    assert bob.numbers == [1]


async def test_sender_and_target_can_live_in_different_partitions(server_url):
    """A message waits where its target lives; operators see all partitions at once."""
    names = [f"agent-{number}" for number in range(4)]
    pairs = [(one, other) for one in names for other in names if one != other]
    async with live_system(server_url, agents=names, allow=pairs, partitions=3, gateways=2) as system:
        receivers = [await system.run(name) for name in names]
        clients = [await system.client(name) for name in names]
        await asyncio.gather(
            *(client.send(name, "x", {"n": 1}, deliver_after=1.0) for client in clients for name in names
              if name != client.agent_id),
            clients[0].send(names[1], "x", {"n": 2}, deliver_after=3600, message_id="stays"),
        )  # fmt: skip
        listed = await schedule.list_scheduled(system.system)
        await until(lambda: all(receiver.numbers == [1, 1, 1] for receiver in receivers))
        (done,) = await schedule.cancel(system.system, ["stays"])

        assert len(listed) == 13
        assert [item.facts.due for item in listed] == sorted(item.facts.due for item in listed)
        assert done.error is None
        assert await schedule.list_scheduled(system.system) == []


async def test_s19_large_messages_that_are_due_together_fit_into_commits(system, monkeypatch):
    """One who schedules many large ones for the same moment stops no partition: they go out in portions (S19)."""
    sizes = []
    commit = PartitionStore.commit

    async def measured(self, batch, *arguments):
        sizes.append(sum(len(item) for item in batch.script_call()[1] if isinstance(item, bytes)))
        return await commit(self, batch, *arguments)

    bob = await system.run("bob")
    alice = await system.client("alice")
    at = await server_now(system) + timedelta(seconds=4)
    text = "lorem ipsum " * 60_000
    await asyncio.gather(
        *(alice.send("bob", "x", {"n": number, "text": text}, deliver_at=at) for number in range(12))
    )
    monkeypatch.setattr(PartitionStore, "commit", measured)
    await until(lambda: len(bob.messages) == 12, 20)

    assert sorted(bob.numbers) == list(range(12))
    assert max(sizes) < 4_000_000
