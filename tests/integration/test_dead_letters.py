"""Dead letters: kept whole, listed without payloads, retried once, dropped with a way back, lost by no crash."""

import asyncio
import signal

import msgspec
import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent.dispatch import Dispatch
from mas_core.errors import (
    AlreadyOrdered,
    Conflict,
    DeadLetterNotFound,
    GatewayDown,
    InvalidPayload,
    Refused,
    UsageError,
)
from mas_core.gateway import dead_letters as gateway_letters
from mas_core.model.dead_letter import ORDER_PREFIX, LetterOrder, begun_at, due_purpose
from mas_core.model.policy import Features, Route, Rule
from mas_core.ops import agents, dead_letters, standings
from mas_core.security.seals import AtRest
from mas_core.store.partitions import PartitionStore

CARD = "4111 1111 1111 1111"


class Failing(Recorder):
    """Fails until it is mended."""

    is_mended = False

    async def on_message(self, message):
        await super().on_message(message)
        if not self.is_mended:
            raise RuntimeError("no")


@pytest.fixture
async def system(server_url):
    """alice may talk to the worker."""
    names = ["alice", "worker"]
    async with live_system(server_url, agents=names, allow=[("alice", "worker")]) as opened:
        yield opened


async def listed(system, **wanted):
    found = await dead_letters.list_letters(system.system, dead_letters.Wanted(**wanted))
    assert found.unreadable == []
    return found.letters


async def kill_letter(system, worker, alice, data=None, **options):
    """Send a message that fails for good; its dead letter."""
    known = {letter.id for letter in await listed(system)}
    worker.is_mended = False
    receipt = await alice.send("worker", "job.run", data or {"n": 1}, **options)

    async def mine():
        return [
            letter
            for letter in await listed(system)
            if letter.id not in known and letter.facts.message_id == receipt.message_id
        ]

    (letter,) = await until(mine)
    worker.is_mended = True
    worker.messages.clear()
    return letter


@pytest.fixture
async def pair(system):
    """A worker that fails, and alice."""
    return await system.run("worker", Failing), await system.run("alice")


async def test_a_dead_letter_keeps_every_attempt(system, pair):
    """R12: with time, code, reason and instance; nothing of the payload is in the list or in the store."""
    worker, alice = pair

    letter = await kill_letter(system, worker, alice, {"secret": "tulip"})

    facts = letter.facts
    assert (facts.sender, facts.target, facts.type, facts.code) == (
        "alice",
        "worker",
        "job.run",
        "handler_failed",
    )
    assert (facts.attempts, facts.size) == (3, len(b'{"secret":"tulip"}'))
    assert [attempt.number for attempt in facts.history] == [1, 2, 3]
    assert {(attempt.code, attempt.reason) for attempt in facts.history} == {
        ("handler_failed", "RuntimeError")
    }
    assert all(attempt.instance for attempt in facts.history)
    assert sorted(attempt.at for attempt in facts.history) == [attempt.at for attempt in facts.history]
    (record,) = await system.audit(kind="delivery.dead")
    assert record.seq == facts.seq
    stored = await system.store.connection.call("XRANGE", system.store.keys.dead(0), "-", "+")
    assert b"tulip" not in repr(stored).encode()
    assert "tulip" not in repr(letter)
    assert await dead_letters.payload(system.system, letter.id) == {"secret": "tulip"}


async def test_a_retry_delivers_once_with_attempts_and_time_to_live_anew(system, pair):
    """R12: who and why is in the audit; ordered again it is not there any more."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice, {"n": 7}, ttl=5)

    (done,) = await dead_letters.retry(system.system, [letter.id], note="mended")
    again = await dead_letters.retry(system.system, [letter.id])

    assert (done.error, done.outcome.is_done, done.outcome.decision) == (None, True, "allowed")
    assert isinstance(again[0].error, DeadLetterNotFound)
    await until(lambda: worker.numbers == [7])
    await asyncio.sleep(0.4)
    assert worker.numbers == [7]
    assert (worker.messages[0].attempt, worker.messages[0].message_id) == (1, letter.facts.message_id)
    assert await listed(system) == []
    (record,) = await system.audit(kind="dlq.retried")
    assert (record.actor, record.reason, record.decision) == (system.system.actor, "mended", "allowed")
    assert record.details == {"dead_letter": letter.id}
    assert await system.audit_holds()


async def test_what_expired_gets_its_time_anew(system):
    """Otherwise a retry could only expire again."""
    alice = await system.run("alice")
    await alice.send("worker", "job.run", {"n": 3}, ttl=1)
    await asyncio.sleep(1.1)
    worker = await system.run("worker")
    (letter,) = await until(lambda: listed(system, reason="expired"))

    await dead_letters.retry(system.system, [letter.id])

    await until(lambda: worker.numbers == [3])


async def test_what_dies_again_keeps_its_whole_history(system, pair):
    """The attempts before the retry, the retry itself, and those after it."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)
    worker.is_mended = False

    await dead_letters.retry(system.system, [letter.id])

    (again,) = await until(lambda: listed(system))
    assert again.id != letter.id
    assert [attempt.number for attempt in again.facts.history] == [1, 2, 3, 0, 1, 2, 3]
    assert again.facts.history[3].code == "retried"


async def test_two_orders_at_once(system, pair, monkeypatch):
    """One counts, the others are told so; the message is delivered once."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)
    commit = PartitionStore.commit

    async def slow_commit(self, *arguments):
        await asyncio.sleep(0.4)
        return await commit(self, *arguments)

    monkeypatch.setattr(PartitionStore, "commit", slow_commit)
    results = await asyncio.gather(
        *(dead_letters.retry(system.system, [letter.id]) for _ in range(3)),
        dead_letters.drop(system.system, [letter.id]),
    )

    errors = [carried.error for (carried,) in results]
    assert errors.count(None) == 1
    assert all(isinstance(error, AlreadyOrdered) for error in errors if error is not None)
    # It was looked for again while its commit was on the way.
    await asyncio.sleep(1.2)
    kinds = [record.kind for record in await system.audit() if record.kind.startswith("dlq.")]
    assert kinds in (["dlq.retried"], ["dlq.dropped"])
    assert len(worker.messages) == kinds.count("dlq.retried")


async def test_a_dropped_letter_can_be_restored(system, pair):
    """It leaves the list and the count, can not be retried meanwhile, and comes back under the same id."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)

    (dropped,) = await dead_letters.drop(system.system, [letter.id], note="not needed")
    (refused,) = await dead_letters.retry(system.system, [letter.id])
    (kept,) = await listed(system, dropped=True)

    assert dropped.outcome.is_done
    assert isinstance(refused.error, Conflict)
    assert refused.error.hint == (f"mas dlq restore {letter.id}",)
    assert 24 * 3600 - 60 < kept.ends_in <= 24 * 3600
    assert await listed(system) == []
    assert await system.store.records.dead_letters() == 0

    (restored,) = await dead_letters.restore(system.system, [letter.id], note="needed after all")
    (twice,) = await dead_letters.restore(system.system, [letter.id])
    assert restored.outcome.is_done
    assert isinstance(twice.error, Conflict)
    assert [found.id for found in await listed(system)] == [letter.id]
    kinds = [
        (record.kind, record.reason) for record in await system.audit() if record.kind.startswith("dlq.")
    ]
    assert kinds == [("dlq.dropped", "not needed"), ("dlq.restored", "needed after all")]
    assert await system.store.connection.call("ZCARD", system.store.keys.later(0)) == 0

    # Dropped once more: an earlier order is no reason to ignore this one.
    (again,) = await dead_letters.drop(system.system, [letter.id])
    assert again.outcome.is_done


async def test_an_order_that_is_played_back_delivers_nothing_that_was_dropped(system, pair):
    """Somebody kept an order of an operator and puts it there again."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)
    await dead_letters.drop(system.system, [letter.id])
    name = f"{ORDER_PREFIX}{letter.id.partition(':')[2]}-0"
    now = await system.store.connection.time_ms()
    order = msgspec.msgpack.encode(LetterOrder("a" * 32, "retry", "ann@host", now))
    sealed = AtRest(system.keys.at_rest_key).seal(due_purpose(0, name), order)

    await system.store.connection.call("HSET", system.store.keys.later_bodies(0), name, sealed)
    await system.store.connection.call("ZADD", system.store.keys.later(0), 0, name)

    (record,) = await until(lambda: system.audit(kind="dlq.refused"))
    assert (record.decision, record.actor) == ("invalid", "ann@host")
    assert worker.messages == []
    assert [found.id for found in await listed(system, dropped=True)] == [letter.id]


async def test_what_was_dropped_goes_for_good(system, pair, monkeypatch):
    """After its day; a restored one stays."""
    monkeypatch.setattr(gateway_letters, "DROPPED_MS", 1000)
    worker, alice = pair
    first = await kill_letter(system, worker, alice)
    second = await kill_letter(system, worker, alice)
    await dead_letters.drop(system.system, [first.id, second.id])
    await dead_letters.restore(system.system, [second.id])

    (record,) = await until(lambda: system.audit(kind="dlq.ended"))

    assert record.details["dead_letter"] == first.id
    assert record.message_id == first.facts.message_id
    await asyncio.sleep(1)
    assert [letter.id for letter in await listed(system)] == [second.id]
    assert await listed(system, dropped=True) == []
    assert await system.store.connection.call("XLEN", system.store.keys.dead(0)) == 1
    with pytest.raises(DeadLetterNotFound):
        await dead_letters.get(system.system, first.id)


async def test_an_edited_retry_is_recorded_as_such(system, pair):
    """The handler gets the new payload; the audit has its fingerprint and not its text."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)

    (done,) = await dead_letters.retry(system.system, [letter.id], data={"n": 2}, note="typo")

    assert done.outcome.is_done
    await until(lambda: worker.numbers == [2])
    (record,) = await system.audit(kind="dlq.retried")
    assert record.details == {
        "dead_letter": letter.id,
        "edited": True,
        "payload_hmac": system.keys.payload_hmac(b'{"n":2}'),
    }
    with pytest.raises(UsageError):
        await dead_letters.retry(system.system, ["0:1", "0:2"], data={})
    with pytest.raises(InvalidPayload):
        await dead_letters.retry(system.system, ["0:1"], data=[1])


async def test_an_edited_payload_with_a_card_number_stays_dead(system, pair):
    """Editing is no way around the scan: refused, recorded, and the dead letter is as it was."""
    await system.change_policy(dlp_actions={"card": "block"})
    worker, alice = pair
    letter = await kill_letter(system, worker, alice, {"n": 1})

    (done,) = await dead_letters.retry(system.system, [letter.id], data={"card": CARD}, note="try")

    assert isinstance(done.error, Refused)
    assert done.error.details["decision"] == "blocked"
    (record,) = await system.audit(kind="dlq.refused")
    assert (record.decision, record.actor) == ("blocked", system.system.actor)
    assert record.details["findings"] == ["card"]
    assert (record.details["edited"], record.details["operator_said"]) == (True, "try")
    assert "1111" not in repr(record)
    assert [found.id for found in await listed(system)] == [letter.id]
    assert await dead_letters.payload(system.system, letter.id) == {"n": 1}
    later = await system.store.connection.call("HGETALL", system.store.keys.later_bodies(0))
    assert not later
    assert worker.messages == []


async def test_an_edited_payload_is_redacted_like_any_other(system, pair):
    """What the policy takes out of messages it takes out here too."""
    await system.change_policy(dlp_actions={"email": "redact"})
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)

    (done,) = await dead_letters.retry(system.system, [letter.id], data={"to": "ann@example.org"})

    assert done.outcome.decision == "redacted"
    await until(lambda: worker.messages)
    assert "ann@example.org" not in repr(worker.messages[0].data)


async def remove_target(system):
    await agents.deregister(system.system, "worker")


async def forget_rules(system):
    await system.change_policy(rules=())


async def quarantine_sender(system):
    await standings.set_standing(system.system, ["alice"], "quarantined", reason="odd")


async def remove_sender(system):
    await agents.deregister(system.system, "alice")


@pytest.mark.parametrize(
    ("change", "decision"),
    [
        (remove_target, "not_found"),
        (forget_rules, "denied"),
        (quarantine_sender, "quarantined"),
        (remove_sender, "unauthenticated"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_what_changed_meanwhile_counts(system, pair, change, decision):
    """A retry is no way around the policy: what a check refuses stays dead, and that is recorded."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)
    await worker.stop()
    await change(system)

    (done,) = await dead_letters.retry(system.system, [letter.id], note="go")

    assert isinstance(done.error, Refused)
    assert done.error.details["decision"] == decision
    (record,) = await system.audit(kind="dlq.refused")
    assert (record.decision, record.details["order"]) == (decision, "retry")
    assert [found.id for found in await listed(system)] == [letter.id]
    assert sum((await system.store.agent("worker").backlog()).values()) == 0
    assert await system.audit_holds()


async def test_a_full_inbox_keeps_what_does_not_fit(server_url):
    """It stays dead and can be retried when there is room."""
    async with live_system(
        server_url, agents=["alice", "worker"], allow=[("alice", "worker")], inbox_bound=2
    ) as system:
        worker, alice = await system.run("worker", Failing), await system.run("alice")
        letters = [await kill_letter(system, worker, alice, {"n": number}) for number in range(4)]
        await worker.stop()

        done = await dead_letters.retry(system.system, [letter.id for letter in letters])

        assert [carried.error is None for carried in done] == [True, True, False, False]
        assert {carried.error.details["decision"] for carried in done[2:]} == {"backpressure"}
        worker = await system.run("worker")
        await until(lambda: worker.numbers == [0, 1])
        left = [letter.id for letter in reversed(await listed(system))]

        async def all_done():
            return all(one.error is None for one in await dead_letters.retry(system.system, left))

        await until(all_done)
        await until(lambda: worker.numbers == [0, 1, 2, 3])


async def test_a_forged_order_changes_nothing(system, pair, monkeypatch):
    """Who can write to the server but has not the keys orders nothing, and it is recorded."""
    monkeypatch.setattr(gateway_letters, "COMMITTED_MS", 300)
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)
    entry = f"{letter.id.partition(':')[2]}-0"
    name = f"{ORDER_PREFIX}{entry}"
    order = msgspec.msgpack.encode(LetterOrder("a" * 32, "retry", "ann@host", letter.facts.dead_at))
    call, keys = system.store.connection.call, system.store.keys
    other = AtRest(system.keys.at_rest_key).seal(due_purpose(0, f"{ORDER_PREFIX}1-0"), order)

    for number, body in enumerate(
        (b"", b"x" * 40, b"", AtRest(b"k" * 32).seal(due_purpose(0, name), order), other), 1
    ):
        if body:
            await call("HSET", keys.later_bodies(0), name, body)
        await call("ZADD", keys.later(0), 0, name)

        async def refused(wanted=number):
            return len(await system.audit(kind="dlq.refused")) == wanted

        await until(refused)

    (record, *_) = await system.audit(kind="dlq.refused")
    assert (record.decision, record.actor) == ("unauthenticated", "")
    assert record.details == {"dead_letter": letter.id}
    assert [found.id for found in await listed(system)] == [letter.id]
    assert worker.messages == []
    # And what they put there is gone, so it is in nobody's way.
    (done,) = await dead_letters.retry(system.system, [letter.id])
    assert done.outcome.is_done


async def test_an_old_order_is_not_carried_out(system, pair, monkeypatch):
    """Somebody kept it to play it back, or no gateway ran for long."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice)
    monkeypatch.setattr(gateway_letters, "ORDER_COUNTS_MS", -1)

    (done,) = await dead_letters.drop(system.system, [letter.id])

    assert done.error.details["decision"] == "expired"
    assert [found.id for found in await listed(system)] == [letter.id]


async def test_a_forged_dead_letter_is_shown_as_such_and_never_delivered(system, pair):
    """Neither one that was made up nor one put together from two."""
    worker, alice = pair
    first = await kill_letter(system, worker, alice, {"n": 1})
    second = await kill_letter(system, worker, alice, {"n": 2})
    call, key = system.store.connection.call, system.store.keys.dead(0)
    stored = [
        dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in await call("XRANGE", key, "-", "+")
    ]
    made_up = await call("XADD", key, "*", "message_id", "m1", "facts", b"x" * 50, "body", b"y")
    mixed = await call(
        "XADD", key, "*", "message_id", "m2", "facts", stored[0][b"facts"], "body", stored[1][b"body"]
    )

    found = await dead_letters.list_letters(system.system)
    made_up_id, mixed_id = (f"0:{entry.decode().removesuffix('-0')}" for entry in (made_up, mixed))
    assert sorted(found.unreadable) == sorted([made_up_id, mixed_id])
    assert {letter.id for letter in found.letters} == {first.id, second.id}
    done = await dead_letters.retry(system.system, [made_up_id, mixed_id])
    assert [carried.error.details["decision"] for carried in done] == ["invalid", "invalid"]
    assert worker.messages == []
    (dropped,) = await dead_letters.drop(system.system, [made_up_id])
    assert dropped.outcome.is_done


async def test_copies_of_a_dead_letter_are_delivered_once(system, pair):
    """Of all that are alike the first is listed; the others are not delivered, also when they are named."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice, {"n": 1})
    call, key = system.store.connection.call, system.store.keys.dead(0)
    ((_, fields),) = await call("XRANGE", key, "-", "+")
    copy = f"0:{(await call('XADD', key, '*', *fields)).decode().removesuffix('-0')}"

    found = await dead_letters.list_letters(system.system)
    done = await dead_letters.retry(system.system, [letter.id, copy])

    assert ([one.id for one in found.letters], found.unreadable) == ([letter.id], [copy])
    assert done[0].outcome.is_done
    assert done[1].error.details["decision"] == "replayed"
    await until(lambda: worker.numbers == [1])
    (record,) = await system.audit(kind="dlq.refused")
    assert "copy" in record.reason


async def test_what_a_rule_holds_stays_until_it_is_approved(system, pair):
    """A rule that came after an incident is not passed unseen in bulk; the approval is recorded with the rule."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice, {"n": 1})
    rule = Rule("rule-9", "hold", "alice", "worker", type="job.*")
    await system.change_policy(rules=(rule,))

    (stays,) = await dead_letters.retry(system.system, [letter.id], data={"n": 2})

    assert (stays.error.details["decision"], stays.error.hint) == (
        "held",
        (f"mas dlq retry {letter.id} --approve",),
    )
    assert [found.id for found in await listed(system)] == [letter.id]
    assert worker.messages == []

    (done,) = await dead_letters.retry(system.system, [letter.id], approve=True, note="looked at it")

    assert done.outcome.is_done
    await until(lambda: worker.numbers == [1])
    (record,) = await system.audit(kind="dlq.retried")
    assert record.details["approved_for"] == "rule-9"
    (refused,) = await system.audit(kind="dlq.refused")
    assert (refused.decision, refused.details["edited"]) == ("held", True)


async def test_a_second_retry_has_the_time_to_live_of_the_first(system, pair):
    """Its own, and not the time since it was sent."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice, {"n": 1}, ttl=30)
    await asyncio.sleep(0.5)
    worker.is_mended = False
    await dead_letters.retry(system.system, [letter.id])
    (again,) = await until(lambda: listed(system))
    lives = []

    await worker.stop()
    await dead_letters.retry(system.system, [again.id])
    looking = system.agent("worker")
    take = Dispatch._take

    async def noting(self, held):
        lives.append(held.delivery.expires_at - begun_at(held.delivery))
        await take(self, held)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatch, "_take", noting)
        await system.stack.enter_async_context(looking)
        await until(lambda: looking.numbers == [1])

    assert lives[0] <= 30_000


async def test_lists_groups_and_names(system, pair):
    """By agent, type, reason and time; ids of messages lead to their dead letters, too."""
    worker, alice = pair
    first = await kill_letter(system, worker, alice)
    await worker.stop()
    receipt = await alice.send("worker", "job.other", {}, ttl=0.05)
    await asyncio.sleep(0.1)
    await system.run("worker")
    await until(lambda: listed(system, type="job.other"))

    assert [found.id for found in await listed(system, reason="handler_*")] == [first.id]
    assert [found.facts.message_id for found in await listed(system, reason="expired")] == [
        receipt.message_id
    ]
    assert len(await listed(system, agent="worker", sender="alice")) == 2
    assert await listed(system, agent="alice") == []
    other = (await dead_letters.get(system.system, receipt.message_id)).facts.dead_at
    assert [found.facts.type for found in await listed(system, since=other)] == ["job.other"]
    assert [found.facts.type for found in await listed(system, before=other)] == ["job.run"]
    groups = await dead_letters.stats(system.system)
    assert {(group.code, group.type, group.agent, group.count) for group in groups} == {
        ("handler_failed", "job.run", "worker", 1),
        ("expired", "job.other", "worker", 1),
    }
    cut = await dead_letters.list_letters(system.system, newest=1)
    assert (len(cut.letters), cut.total) == (1, 2)
    assert cut.letters[0].facts.message_id == receipt.message_id
    for name in ("0:1", "9:1", "no-such-message"):
        with pytest.raises(DeadLetterNotFound):
            await dead_letters.get(system.system, name)
    with pytest.raises(UsageError):
        await dead_letters.get(system.system, "../0:1")


async def test_many_are_retried_in_their_order_and_at_a_rate(system, pair, monkeypatch):
    """More than go at once; the order of the ids is the order of delivery."""
    monkeypatch.setattr(dead_letters, "AT_ONCE", 4)
    worker, alice = pair
    worker.is_mended = False
    for number in range(10):
        await alice.send("worker", "job.run", {"n": number})

    async def all_dead():
        return len(await listed(system)) == 10

    await until(all_dead)
    worker.is_mended = True
    worker.messages.clear()
    ids = [letter.id for letter in await listed(system)]

    done = await dead_letters.retry(system.system, ids[:8])
    await until(lambda: len(worker.messages) == 8)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    slowly = await dead_letters.retry(system.system, ids[8:], rate=2)

    assert loop.time() - begun < 10
    assert all(carried.outcome.is_done for carried in [*done, *slowly])
    await until(lambda: len(worker.messages) == 10)
    order = {letter: place for place, letter in enumerate(ids)}
    assert [order[carried.id] for carried in done] == list(range(8))
    assert len(set(worker.numbers)) == 10


async def test_without_a_gateway_an_order_waits(system, pair):
    """It says so at once; the next gateway carries it out."""
    worker, alice = pair
    letter = await kill_letter(system, worker, alice, {"n": 5})
    await system.gateways[0].stop()

    (waiting,) = await dead_letters.retry(system.system, [letter.id], wait_s=30)

    assert waiting.outcome is None
    assert isinstance(waiting.error, GatewayDown)
    await system.start_gateway()
    await until(lambda: worker.numbers == [5])
    assert len(await system.audit(kind="dlq.retried")) == 1


async def test_what_cannot_be_kept_as_a_dead_letter_is_not_acknowledged(system, pair):
    """Where dead letters cannot be written the message stays in the inbox until they can."""
    worker, alice = pair
    key = system.store.keys.dead(0)
    await system.store.connection.call("SET", key, "in the way")
    receipt = await alice.send("worker", "job.run", {"n": 1})
    await until(lambda: len(worker.messages) >= 3)
    await asyncio.sleep(0.5)
    assert sum((await system.store.agent("worker").backlog()).values()) == 1
    assert await system.audit(kind="delivery.dead") == []

    await system.store.connection.call("DEL", key)

    (letter,) = await until(lambda: listed(system))
    assert letter.facts.message_id == receipt.message_id

    async def settled():
        return sum((await system.store.agent("worker").backlog()).values()) == 0

    await until(settled)


async def test_each_partition_keeps_its_own(any_url):
    """On two partitions and two gateways, in memory as on a real server."""
    names = [f"worker{number}" for number in range(4)]
    async with live_system(any_url, agents=["alice", *names], partitions=2, gateways=2) as system:
        await system.allow(*(("alice", name) for name in names))
        workers = [await system.run(name, Failing) for name in names]
        alice = await system.run("alice")
        for name in names:
            await alice.send(name, "job.run", {"n": name})

        async def all_dead():
            return len(await listed(system)) == 4

        await until(all_dead)
        letters = await listed(system)
        assert {letter.id.partition(":")[0] for letter in letters} == {"0", "1"}
        for worker in workers:
            worker.is_mended = True
            worker.messages.clear()

        done = await dead_letters.retry(system.system, [letter.id for letter in letters])

        assert all(carried.outcome.is_done for carried in done)
        await until(lambda: all(worker.numbers == [worker.id] for worker in workers))


@pytest.mark.slow
async def test_a_killed_gateway_loses_and_doubles_no_order(server_url):
    """kill -9 between order and commit, and after it: delivered once, dropped once, recorded once each."""
    async with live_system(
        server_url, agents=["alice", "worker"], allow=[("alice", "worker")], gateways=0, lease_ms=300
    ) as system:
        gateway = await system.start_gateway()
        worker, alice = await system.run("worker", Failing), await system.run("alice")
        letters = [await kill_letter(system, worker, alice, {"n": number}) for number in range(6)]
        await gateway.stop()
        process = await system.spawn_gateway()
        for round_number in range(3):
            process.send_signal(signal.SIGKILL)
            await process.wait()
            retried, dropped = letters[2 * round_number : 2 * round_number + 2]
            await dead_letters.retry(system.system, [retried.id], wait_s=0)
            await dead_letters.drop(system.system, [dropped.id], wait_s=0)
            process = await system.spawn_gateway()
            if round_number:
                await asyncio.sleep(0.05 * round_number)
                process.send_signal(signal.SIGKILL)
                await process.wait()
                process = await system.spawn_gateway()
            await until(lambda wanted=round_number + 1: len(worker.messages) >= wanted, 20)

        async def all_recorded():
            return len([one for one in await system.audit() if one.kind.startswith("dlq.")]) >= 6

        await until(all_recorded, 20)
        assert worker.numbers == [0, 2, 4]
        kinds = sorted(one.kind for one in await system.audit() if one.kind.startswith("dlq."))
        assert kinds == ["dlq.dropped"] * 3 + ["dlq.retried"] * 3
        assert [letter.id for letter in await listed(system, dropped=True)] == [
            letters[number].id for number in (5, 3, 1)
        ]
        assert await system.audit_holds()


async def test_the_receiver_of_an_edited_message_learns_that_another_was_signed(system, pair):
    """The sender's signature is kept; it does not cover what the operator wrote."""
    await system.change_policy(features=Features(message_signing=True))
    worker, alice = pair
    first = await kill_letter(system, worker, alice, {"n": 1})
    second = await kill_letter(system, worker, alice, {"n": 2})

    await dead_letters.retry(system.system, [first.id], data={"n": 9})
    await dead_letters.retry(system.system, [second.id])

    await until(lambda: worker.numbers == [9, 2])
    edited, same = worker.messages
    assert (edited.signed.covers_payload, edited.signed.change) == (False, "edited by an operator")
    assert same.signed.covers_payload


async def test_an_encrypted_message_cannot_be_edited(system, pair):
    """Only its sender could; as it was it can be retried, and stays unreadable here."""
    await system.change_policy(routes=(Route(sender="alice", target="worker", e2e="allow"),))
    worker, alice = pair
    letter = await kill_letter(system, worker, alice, {"word": "tulip"}, encrypt=True)

    (refused,) = await dead_letters.retry(system.system, [letter.id], data={"n": 1})
    shown = await dead_letters.payload(system.system, letter.id)
    (done,) = await dead_letters.retry(system.system, [letter.id])

    assert letter.facts.is_encrypted
    assert refused.error.details["decision"] == "invalid"
    assert "tulip" not in repr(shown)
    assert done.outcome.is_done
    await until(lambda: worker.messages)
    assert worker.messages[0].data == {"word": "tulip"}
