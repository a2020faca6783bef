"""Rate limits in a whole system: nobody gets more than the limit, whatever they try, and nobody less."""

import asyncio
from collections import Counter

import msgspec
import pytest
from support.systems import GENEROUS, live_system
from support.waiting import until

from mas_core.errors import MasError, RateLimited, Refused, Unauthenticated
from mas_core.gateway.control_budget import ControlBudget
from mas_core.gateway.judge import Judge
from mas_core.model.frame import Frame
from mas_core.model.message import BEAT, DISCOVER, Envelope, Flag
from mas_core.model.policy import RateLimit
from mas_core.ops import limits as operate
from mas_core.security.policy_changes import set_limit
from mas_core.security.seals import read_header
from mas_core.store.limits import WINDOW_LENGTHS_MS


@pytest.fixture
async def system(server_url):
    """alice, carol and mallory may talk to bob and dave; two gateways share two partitions."""
    senders, targets = ("alice", "carol", "mallory"), ("bob", "dave", "erin", "frank")
    async with live_system(
        server_url,
        agents=[*senders, *targets],
        allow=[(sender, target) for sender in senders for target in targets],
        partitions=2,
        gateways=2,
    ) as opened:
        yield opened


@pytest.fixture
def reservations(monkeypatch):
    """An outside log of the places that batches were judged with: (subject, server time, places)."""
    log = []
    judge = Judge.judge

    def logged(self, frames, lookups, *arguments, **options):
        log.extend((name, grant.at, grant.granted) for name, grant in lookups.grants.items())
        return judge(self, frames, lookups, *arguments, **options)

    monkeypatch.setattr(Judge, "judge", logged)
    return log


async def limit(system, name, **numbers):
    await system.system.policy.change(
        lambda document: set_limit(document, name, msgspec.structs.replace(GENEROUS, **numbers))
    )


async def outcome(sending):
    """The decision about a message."""
    try:
        return str((await sending).decision)
    except MasError as error:
        return error.details.get("decision", error.code)


def worst(log, length):
    """The most that any window of this length holds."""
    return max(sum(count for at, count in log if end - length <= at <= end) for end, _ in log)


async def used(system, name, window="minute"):
    (status, *_) = await operate.get_limit(system.system, name)
    return next(use.used for use in status.uses if use.window == window)


async def test_s15_many_instances_and_gateways_share_one_limit(system, reservations):
    """Every sliding second and the minute hold, over instances, targets, lanes and both gateways (S15)."""
    await limit(system, "alice", per_minute=70, burst=40)
    clients = [await system.client("alice") for _ in range(5)]

    async def insist(client, number):
        results = []
        for round_ in range(12):
            results += await asyncio.gather(
                *(
                    outcome(client.send(target, "x", {}, priority=priority))
                    for target in ("bob", "dave", "erin", "frank")
                    for priority in (0, 5, 10)
                )
            )
            await asyncio.sleep(0.05 * (1 + (number + round_) % 5))
        return results

    tasks = [insist(client, number) for number, client in enumerate(clients)]
    results = Counter(item for part in await asyncio.gather(*tasks) for item in part)
    log = [(at, count) for name, at, count in reservations if name == "alice"]

    assert set(results) == {"allowed", "rate_limited"}
    assert results["allowed"] == sum(count for _, count in log) == 70
    assert worst(log, 1_000) <= 40
    assert len(await system.audit(sender="alice", decision="allowed", kind="message")) == 70


async def test_s15_what_fits_is_let_through_again(system, reservations):
    """A second later there is room for another burst, no more and no less (S15)."""
    await limit(system, "alice", burst=30)
    alice = await system.client("alice")
    allowed = []
    for _ in range(3):
        results = await asyncio.gather(*(outcome(alice.send("bob", "x", {})) for _ in range(50)))
        allowed.append(results.count("allowed"))
        await asyncio.sleep(1.1)

    assert allowed == [30, 30, 30]
    assert worst([(at, count) for name, at, count in reservations if name == "alice"], 1_000) == 30


async def test_s15_a_refusal_says_when_one_more_fits(system):
    """Who waits that long gets through, at once."""
    await limit(system, "alice", burst=5)
    alice = await system.client("alice")
    await asyncio.gather(*(alice.send("bob", "x", {}) for _ in range(5)))
    with pytest.raises(
        RateLimited, match="Rate limit exceeded: alice has used all messages of this second"
    ) as caught:
        await alice.send("bob", "x", {})

    assert 0 < caught.value.details["retry_after"] <= 1.001
    assert caught.value.hint == ("mas limit get alice",)
    await asyncio.sleep(caught.value.details["retry_after"])
    assert (await alice.send("bob", "x", {})).decision == "allowed"


async def test_s15_ids_that_collide_count_each_time(system):
    """Sending the same id again costs a place, though it has no effect (S15)."""
    await limit(system, "alice", per_minute=10)
    alice = await system.client("alice")
    results = [await outcome(alice.send("bob", "x", {}, message_id="same")) for _ in range(12)]

    assert results == ["allowed"] * 12 or Counter(results)["rate_limited"] <= 2
    assert await used(system, "alice") == 10
    assert len(await system.audit(sender="alice", kind="message", decision="allowed")) == 1


async def test_s1_a_frame_that_names_another_agent_is_not_from_anybody(system):
    """Its seal does not fit; the one who is named loses no place and gets no blame (S1, S15)."""
    mallory = await system.client("mallory")
    add = mallory._outbox._store.add_frames

    async def forge(frames):
        return await add(
            [
                (partition, lane, Frame(msgspec.msgpack.encode(
                    msgspec.structs.replace(read_header(frame), agent="alice")), frame.body))
                for partition, lane, frame in frames
            ]
        )  # fmt: skip

    mallory._outbox._store.add_frames = forge
    with pytest.raises(MasError):
        await mallory.send("bob", "x", {}, timeout=0.3)
    (record, *_) = await until(lambda: system.audit(kind="frame"))

    assert record.decision == "unauthenticated"
    assert (record.sender, record.details["claimed_sender"]) == ("", "alice")
    assert await used(system, "alice") == 0


async def test_s1_a_message_that_claims_another_sender_is_refused_and_counts_for_who_sent_it(system):
    """Refused as sender_mismatch, recorded under the authenticated id, and counted against its limit (S1)."""
    await limit(system, "mallory", per_minute=3)
    mallory = await system.client("mallory")
    bob = await system.run("bob")
    for name in ("sender", "sender_id"):
        with pytest.raises(Unauthenticated, match="Authentication failed") as caught:
            await mallory.send("bob", "x", {}, headers={name: "alice"})
        assert caught.value.details["rule"] == "sender_mismatch"
    await mallory.send("bob", "x", {"sender_id": "alice", "n": 1}, headers={"sender_id": "mallory"})
    with pytest.raises(RateLimited):
        await mallory.send("bob", "x", {})
    await until(lambda: bob.messages)

    refused = await system.audit(decision="unauthenticated", kind="message")
    assert {(record.sender, record.rule) for record in refused} == {("mallory", "sender_mismatch")}
    assert [message.sender_id for message in bob.messages] == ["mallory"]
    assert (await used(system, "mallory"), await used(system, "alice")) == (3, 0)


async def test_replies_that_nobody_asked_for_count(system):
    """A flood of forged replies uses up the limit like anything else."""
    await limit(system, "mallory", per_minute=20)
    mallory = await system.client("mallory")

    async def forge(number):
        return await mallory._outbox.submit(
            Envelope(
                f"forged-{number}", "bob", "x", b"{}", mallory.now_ms(), flags=Flag.IS_REPLY, correlation="x"
            )
        )

    receipts = await asyncio.gather(*(forge(number) for number in range(30)))
    assert {receipt.decision for receipt in receipts} <= {"denied", "replayed"}

    async def is_used_up():
        return await used(system, "mallory") == 20

    await until(is_used_up)
    with pytest.raises(RateLimited):
        await mallory.send("bob", "x", {})


async def test_a_total_bounds_the_members_of_a_role_together(system):
    """Each within its own limit; what refuses is named, and one over its own limit takes nothing of the total."""
    await system.change_policy(
        roles={"few": ("alice", "carol")},
        totals={"role:few": RateLimit(10, 1000)},
        limits={"carol": RateLimit(2, 1000)},
    )
    alice, carol = [await system.client(name) for name in ("alice", "carol")]
    of_carol = Counter([await outcome(carol.send("bob", "x", {})) for _ in range(6)])
    of_alice = Counter(
        await asyncio.gather(*(outcome(alice.send(target, "x", {})) for target in ("bob", "dave") * 10))
    )

    assert of_carol == {"allowed": 2, "rate_limited": 4}
    assert of_alice == {"allowed": 8, "rate_limited": 12}
    reasons = {record.reason for record in await system.audit(sender="alice", decision="rate_limited")}
    assert reasons == {
        "Rate limit exceeded: alice: everybody under the total of role:few has used all messages of this minute"
    }


async def test_a_total_bounds_what_all_send_to_a_capability(system):
    """From all senders to all agents that have it, and to no others; refused messages take no place of it."""
    await system.change_policy(totals={"capability:gpu": RateLimit(6, 1000)})
    await system.run("bob", capabilities=("gpu",))
    await system.run("dave", capabilities=("cpu", "gpu"))
    alice, carol = [await system.client(name) for name in ("alice", "carol")]
    for _ in range(8):
        assert await outcome(alice.send("bob", "x", {"card": "4111 1111 1111 1111"})) == "blocked"
    results = Counter(
        [
            await outcome(client.send(target, "x", {}))
            for _ in range(3)
            for client in (alice, carol)
            for target in ("bob", "dave")
        ]
    )

    assert results == {"allowed": 6, "rate_limited": 6}
    assert await outcome(alice.send("erin", "x", {})) == "allowed"


async def test_a_change_of_policy_under_load_counts_no_message_twice(system):
    """Batches that are judged again give their places back: what was let through is counted, and little more."""
    await limit(system, "alice", per_minute=100_000)
    alice = await system.client("alice")
    results = []

    async def send_on():
        while len(results) < 1500:
            results.extend(
                await asyncio.gather(*(outcome(alice.send(t, "x", {})) for t in ("bob", "dave") * 25))
            )

    sending = asyncio.create_task(send_on())
    changes = 0
    while not sending.done():
        changes += 1
        await system.change_policy(change=f"nothing {changes}")
        await asyncio.sleep(0.02)
    await sending

    async def is_settled():
        return await used(system, "alice") <= 1.1 * len(results)

    assert set(results) == {"allowed"}
    assert changes > 3
    await until(is_settled)
    assert await used(system, "alice") >= len(results)


async def test_a_batch_that_is_not_committed_gives_its_places_back(server_url, monkeypatch):
    """A commit that finds another policy leaves the counts as they were."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        await limit(system, "alice", per_minute=10)
        alice = await system.client("alice")
        (owner, _) = system.gateways[0]._owners[0]
        commit = owner._partition.commit
        failures = iter(range(3))

        async def fail_first(*arguments):
            if next(failures, None) is not None:
                await system.store.records.raise_revision()
            return await commit(*arguments)

        monkeypatch.setattr(owner._partition, "commit", fail_first)
        results = await asyncio.gather(*(outcome(alice.send("bob", "x", {})) for _ in range(10)))

        async def is_exact():
            return await used(system, "alice") == 10

        assert results == ["allowed"] * 10
        await until(is_exact)


async def test_control_messages_have_a_budget_of_their_own(server_url):
    """Who floods the gateway is refused and told when to come again; heartbeats pass, others do not notice."""
    async with live_system(
        server_url, agents=["mallory", "bob"], rate_limit={"control_per_minute": 40}
    ) as system:
        mallory = await system.client("mallory")
        bob = await system.client("bob")
        flood = await asyncio.gather(
            *(outcome(mallory.tell(DISCOVER, {})) for _ in range(200)),
        )
        with pytest.raises(RateLimited, match="Rate limit exceeded: mallory asks too much") as caught:
            await mallory.discover()

        assert 25 <= flood.count("allowed") <= 45
        assert flood.count("rate_limited") == 200 - flood.count("allowed")
        assert caught.value.details["retry_after"] > 0
        assert await outcome(mallory.tell(BEAT, {})) != "rate_limited"
        assert await bob.discover() is not None
        assert len(await system.audit(kind="control", sender="mallory")) == 1


def test_a_control_budget_fills_evenly():
    """A minute's worth at once, then as much as time gives; what was of use is given back."""
    budget = ControlBudget(60)
    assert sum(budget.take("a", 0, is_vital=True) for _ in range(100)) == 60
    assert budget.retry_after("a", 0, is_vital=True) == pytest.approx(1.0)
    assert sum(budget.take("a", 5_000, is_vital=True) for _ in range(100)) == 5
    budget.give_back("a", 5_000)
    assert budget.take("a", 5_000, is_vital=True)
    assert not budget.take("a", 10_000, is_vital=False)
    assert sum(budget.take("b", 0, is_vital=False) for _ in range(100)) == 45


async def test_a_reset_lets_an_agent_send_at_once(system):
    """And the history of the policy says so."""
    await limit(system, "alice", per_minute=1)
    alice = await system.client("alice")
    await alice.send("bob", "x", {})
    with pytest.raises(Refused):
        await alice.send("bob", "x", {})
    await operate.reset(system.system, "alice")

    assert await outcome(alice.send("bob", "x", {})) == "allowed"
    assert set(WINDOW_LENGTHS_MS) == {"second", "minute", "hour"}
    document = await system.system.policy.load()
    assert document.change == "reset what alice has used"


async def test_the_stage_can_be_switched_off(system):
    """P12: nothing is counted then."""
    await limit(system, "alice", per_minute=0)
    document = await system.system.policy.load()
    await system.change_policy(features=msgspec.structs.replace(document.features, rate_limit=False))
    alice = await system.client("alice")

    for _ in range(5):
        assert await outcome(alice.send("bob", "x", {})) == "allowed"

    async def is_nothing_counted():
        return await used(system, "alice") == 0

    await until(is_nothing_counted)
