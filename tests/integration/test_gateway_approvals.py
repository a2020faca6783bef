"""Held messages: kept until somebody decides, decided once, checked again, and lost by no crash."""

import asyncio
import itertools
import signal

import msgspec
import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import (
    AlreadyDecided,
    ApprovalNotFound,
    Forbidden,
    RequestTimedOut,
    UsageError,
)
from mas_core.gateway import approvals as held_messages
from mas_core.model.decision import Decision
from mas_core.model.policy import Features, Rule
from mas_core.ops import agents, approvals, standings
from mas_core.security.policy_changes import add_rule, remove_rule

CARD = "4111 1111 1111 1111"


class Bank(Recorder):
    """Answers requests."""

    @Recorder.on("balance")
    async def balance(self, message):
        return {"balance": 7}


async def add(system, effect, sender, target, **options):
    await system.system.policy.change(
        lambda document: add_rule(document, Rule("", effect, sender, target, **options))
    )
    return (await system.system.policy.load()).rules[-1].id


@pytest.fixture
async def system(server_url):
    """What alice sends to the bank is held; carol may send to it."""
    names = ["alice", "carol", "bank"]
    async with live_system(server_url, agents=names, allow=[("carol", "bank")]) as opened:
        await add(opened, "hold", "alice", "bank")
        yield opened


async def waiting(system):
    return await approvals.list_waiting(system.system)


async def test_a_held_message_waits_and_is_delivered_when_somebody_approves(system):
    """The receipt names the approval; hold and approval are in the audit, with who and why."""
    bank, alice = await system.run("bank", Bank), await system.run("alice")

    receipt = await alice.send("bank", "transfer", {"n": 1})
    (item,) = await waiting(system)

    assert (receipt.decision, receipt.approval) == (Decision.HELD, item.facts.approval_id)
    assert (item.facts.sender, item.facts.target, item.facts.type) == ("alice", "bank", "transfer")
    assert item.facts.message_id == receipt.message_id
    assert 3590 < item.expires_in <= 3600
    assert bank.messages == []

    decided = await approvals.decide(system.system, receipt.approval, approved=True, reason="checked")

    assert decided.outcome.is_delivered
    await until(lambda: bank.numbers == [1])
    held, approved = await system.audit(message_id=receipt.message_id)
    assert (held.decision, held.rule, held.details["approval"]) == ("held", item.facts.rule, receipt.approval)
    assert held.seq == int(receipt.approval.partition("-")[2])
    assert (approved.kind, approved.decision, approved.reason) == ("approval.approved", "allowed", "checked")
    assert approved.actor == system.system.actor
    assert await waiting(system) == []
    assert await system.audit_holds()


async def test_every_message_of_a_batch_is_held(system):
    """Also those that are like one that was looked at already; others beside them pass."""
    bank = await system.run("bank", Bank)
    alice, carol = await system.run("alice"), await system.run("carol")

    receipts = await asyncio.gather(
        *(alice.send("bank", "transfer", {"n": number}) for number in range(50)),
        *(carol.send("bank", "transfer", {"n": 100 + number}) for number in range(50)),
    )

    await until(lambda: len(bank.messages) == 50)
    assert {receipt.decision for receipt in receipts[:50]} == {"held"}
    assert len({receipt.approval for receipt in receipts[:50]}) == 50
    assert min(bank.numbers) == 100
    assert [item.facts.message_id for item in await waiting(system)] == [
        receipt.message_id for receipt in sorted(receipts[:50], key=lambda one: int(one.approval[2:]))
    ]


async def test_approved_messages_go_in_the_order_of_their_approval(system):
    """Each once."""
    bank, alice = await system.run("bank", Bank), await system.run("alice")
    ids = [(await alice.send("bank", "transfer", {"n": number})).approval for number in range(12)]

    for approval_id in reversed(ids):
        await approvals.decide(system.system, approval_id, approved=True, wait_s=0)
        await asyncio.sleep(0.002)

    await until(lambda: len(bank.messages) == 12)
    assert bank.numbers == list(reversed(range(12)))


async def test_a_rejected_message_is_never_delivered(system):
    """And nobody can approve it any more."""
    bank, alice = await system.run("bank", Bank), await system.run("alice")
    receipt = await alice.send("bank", "transfer", {"n": 1})

    decided = await approvals.decide(system.system, receipt.approval, approved=False, reason="wrong account")

    assert (decided.outcome.decision, decided.outcome.is_delivered) == ("denied", False)
    with pytest.raises(AlreadyDecided) as late:
        await approvals.decide(system.system, receipt.approval, approved=True)
    assert (late.value.details["by"], late.value.details["approved"]) == (system.system.actor, False)
    (record,) = await system.audit(kind="approval.rejected")
    assert (record.decision, record.reason, record.actor) == ("denied", "wrong account", system.system.actor)
    await asyncio.sleep(0.3)
    assert bank.messages == []


async def test_two_who_decide_at_the_same_moment(server_url):
    """One wins; the other is told who and what."""
    async with live_system(server_url, agents=["alice", "bank"], gateways=0) as system:
        await add(system, "hold", "alice", "bank")
        gateway = await system.start_gateway()
        alice = await system.run("alice")
        receipt = await alice.send("bank", "transfer", {"n": 1})
        await gateway.stop()

        answers = await asyncio.gather(
            *(
                approvals.decide(system.system, receipt.approval, approved=approved, wait_s=0)
                for approved in (True, False, True, False)
            ),
            return_exceptions=True,
        )

        (winner,) = [answer for answer in answers if isinstance(answer, approvals.Decided)]
        losers = [answer for answer in answers if isinstance(answer, AlreadyDecided)]
        assert len(losers) == 3
        assert {loser.details["approved"] for loser in losers} == {winner.approved}
        assert {loser.details["by"] for loser in losers} == {system.system.actor}
        (item,) = await waiting(system)
        assert item.state == ("approved" if winner.approved else "rejected")


async def test_what_nobody_decides_expires(system):
    """It is recorded and gone; who comes later is told so."""
    await system.change_policy(approval_expires_ms=300)
    bank, alice = await system.run("bank", Bank), await system.run("alice")
    receipt = await alice.send("bank", "transfer", {"n": 1})

    (record,) = await until(lambda: system.audit(kind="approval.expired"))

    assert (record.decision, record.reason) == ("expired", "nobody decided in time")
    assert record.message_id == receipt.message_id
    assert await waiting(system) == []
    with pytest.raises(ApprovalNotFound):
        await approvals.decide(system.system, receipt.approval, approved=True)
    assert bank.messages == []


async def test_no_message_outlives_itself_by_waiting(system):
    """Its own time to live counts where that is shorter."""
    alice = await system.run("alice")
    await alice.send("bank", "transfer", {"n": 1}, ttl=0.3)

    (item,) = await waiting(system)
    assert item.expires_in <= 0.3
    await until(lambda: system.audit(kind="approval.expired"))


async def test_who_asks_keeps_waiting_and_gets_the_reply(system):
    """The permit to answer is valid after the approval; without one the request times out."""
    await system.run("bank", Bank)
    alice = await system.run("alice")
    asking = asyncio.create_task(alice.request("bank", "balance", {}))
    (item,) = await until(lambda: waiting(system))
    assert item.facts.expects_reply

    await approvals.decide(system.system, item.facts.approval_id, approved=True)

    assert (await asking).data == {"balance": 7}
    with pytest.raises(RequestTimedOut):
        await alice.request("bank", "balance", {}, timeout=0.3)


async def test_checks_come_before_the_hold(system):
    """What is blocked or not well-formed is refused, and nobody is asked."""
    alice = await system.run("alice")
    await system.change_policy(dlp_actions={"card": "block"})

    with pytest.raises(Exception, match="card"):
        await alice.send("bank", "transfer", {"card": CARD})

    assert await waiting(system) == []


async def test_redacted_values_stay_redacted(system):
    """In the store, for the approver, and in what is delivered; the finding is shown."""
    await system.change_policy(dlp_actions={"card": "redact"})
    bank, alice = await system.run("bank", Bank), await system.run("alice")
    receipt = await alice.send("bank", "transfer", {"card": CARD, "n": 1})

    (item,) = await waiting(system)
    shown = await approvals.payload(system.system, receipt.approval)
    stored = [
        await system.store.connection.call("HGETALL", key)
        for key in (system.store.keys.held(0), system.store.keys.later_bodies(0))
    ]
    await approvals.decide(system.system, receipt.approval, approved=True)
    await until(lambda: bank.messages)

    assert [finding.rule for finding in item.facts.findings] == ["card"]
    assert item.facts.decision == "redacted"
    assert "1111" not in str(shown)
    assert b"1111" not in repr(stored).encode()
    assert b"transfer" not in repr(stored[1]).encode()
    assert bank.messages[0].data == shown
    (record,) = await system.audit(kind="approval.approved")
    assert record.decision == "redacted"


async def revoke_token(system, approval_id):
    await agents.revoke_token(system.system, "alice")


async def deny_sender(system, approval_id):
    await add(system, "deny", "alice", "bank")


async def drop_rule(system, approval_id):
    (item,) = await waiting(system)
    await system.system.policy.change(lambda document: remove_rule(document, item.facts.rule))


async def replace_rule(system, approval_id):
    await drop_rule(system, approval_id)
    await add(system, "hold", "alice", "*", reason="a stricter one")


async def remove_target(system, approval_id):
    await agents.deregister(system.system, "bank")


async def want_blocked(system, approval_id):
    await system.change_policy(dlp_actions={"email": "block"})


@pytest.mark.parametrize(
    ("change", "decision"),
    [
        (revoke_token, "unauthenticated"),
        (deny_sender, "denied"),
        (drop_rule, "denied"),
        (replace_rule, "denied"),
        (remove_target, "not_found"),
        (want_blocked, "blocked"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_what_changed_meanwhile_counts(system, change, decision):
    """An approval is no way around the policy: it is checked again, and recorded as not delivered."""
    await system.change_policy(dlp_actions={"email": "alert"})
    alice = await system.run("alice")
    receipt = await alice.send("bank", "transfer", {"to": "ann@example.org"})
    assert receipt.decision == "held"
    await change(system, receipt.approval)

    decided = await approvals.decide(system.system, receipt.approval, approved=True, reason="fine")

    assert (decided.outcome.decision, decided.outcome.is_delivered) == (decision, False)
    (record,) = await system.audit(kind="approval.approved")
    assert (record.decision, record.actor) == (decision, system.system.actor)
    assert record.details == {"approval": receipt.approval, "approver_said": "fine"}
    assert sum((await system.store.agent("bank").backlog()).values()) == 0
    assert await waiting(system) == []
    assert await system.audit_holds()


async def test_a_full_inbox_delays_an_approved_message_only(server_url):
    """It is delivered when there is room."""
    async with live_system(
        server_url, agents=["alice", "carol", "bank"], allow=[("carol", "bank")], inbox_bound=1
    ) as system:
        await add(system, "hold", "alice", "bank")
        alice, carol = await system.run("alice"), await system.run("carol")
        await carol.send("bank", "x", {"n": 1})
        receipt = await alice.send("bank", "transfer", {"n": 2})
        decided = await approvals.decide(system.system, receipt.approval, approved=True, wait_s=0.6)
        assert decided.outcome is None

        bank = await system.run("bank", Bank)

        await until(lambda: bank.numbers == [1, 2])


async def test_no_more_wait_than_there_is_room_for(system, monkeypatch):
    """The next is told so, and may come later."""
    monkeypatch.setattr(held_messages, "MAX_HELD", 2)
    alice = await system.run("alice")
    ids = [(await alice.send("bank", "x", {"n": number})).approval for number in range(2)]
    with pytest.raises(Exception, match="too many messages wait"):
        await alice.send("bank", "x", {})

    await approvals.decide(system.system, ids[0], approved=False)

    assert (await alice.send("bank", "x", {})).decision == "held"


async def test_a_forged_approval_counts_for_nothing(system):
    """Who can write to the server but has not the key of the gateway approves nothing."""
    bank, alice = await system.run("bank", Bank), await system.run("alice")
    receipt = await alice.send("bank", "transfer", {"n": 1})
    second = await alice.send("bank", "transfer", {"n": 2})
    call, keys = system.store.connection.call, system.store.keys
    forged = b"x" * 32 + msgspec.json.encode({"approved": True, "by": "ann", "at": 1})

    await call("HSET", keys.held(0), f"decision:{receipt.approval}", forged)
    await call("ZADD", keys.later(0), 0, f"approval/{receipt.approval}")
    await asyncio.sleep(0.6)
    assert bank.messages == []
    assert len(await waiting(system)) == 2

    # Nor does it help to put one message in the place of another.
    bodies = [f"approval/{item.approval}" for item in (receipt, second)]
    first_body = await call("HGET", keys.later_bodies(0), bodies[0])
    await call("HSET", keys.later_bodies(0), bodies[1], first_body)
    decided = await approvals.decide(system.system, second.approval, approved=True)
    assert not decided.outcome or not decided.outcome.is_delivered
    assert bank.messages == []


async def test_the_same_id_again_is_held_once(system):
    """With the same approval in the receipt."""
    alice = await system.run("alice")

    receipts = [await alice.send("bank", "transfer", {"n": 1}, message_id="mine") for _ in range(3)]

    assert len({receipt.approval for receipt in receipts}) == 1
    assert {receipt.decision for receipt in receipts} == {"held"}
    assert len(await waiting(system)) == 1


async def test_an_id_that_comes_again_never_takes_the_place_of_what_was_read(system):
    """What is approved is what the approver saw, whatever the sender sends under the same id later."""
    bank, alice = await system.run("bank", Bank), await system.run("alice")
    first = await alice.send("bank", "transfer", {"n": 1}, message_id="mine")
    shown = await approvals.payload(system.system, first.approval)
    await alice.send("bank", "transfer", {"n": 1000}, message_id="mine")

    await approvals.decide(system.system, first.approval, approved=True)

    await until(lambda: bank.messages)
    assert [message.data for message in bank.messages] == [shown]


@pytest.mark.parametrize(
    "approval_id", ["", "x", "0", "0-", "-1", "0-1-1", "../0-1", "0-99999999999999999999"]
)
async def test_what_cannot_be_an_approval(system, approval_id):
    """It is a wrong call, or not there."""
    with pytest.raises((UsageError, ApprovalNotFound)):
        await approvals.get(system.system, approval_id)
    with pytest.raises(ApprovalNotFound):
        await approvals.get(system.system, "7-1")


async def test_without_access_rules_nothing_is_held(system):
    """Holding is a part of them."""
    await system.change_policy(features=Features(rbac=False))
    bank, alice = await system.run("bank", Bank), await system.run("alice")

    await alice.send("bank", "transfer", {"n": 1})

    await until(lambda: bank.numbers == [1])


async def test_deny_wins_over_hold(system):
    """What is denied is not even held."""
    await add(system, "deny", "alice", "bank", type="secret")
    alice = await system.run("alice")

    with pytest.raises(Forbidden):
        await alice.send("bank", "secret", {})
    assert await waiting(system) == []


@pytest.mark.slow
async def test_nothing_is_lost_or_doubled_when_the_gateway_is_killed_between_the_steps(server_url):
    """kill -9 after the hold, after the decision and after the delivery: each message once, or not at all."""
    async with live_system(server_url, agents=["alice", "bank"], gateways=0, lease_ms=300) as system:
        await add(system, "hold", "alice", "bank")
        gateway = await system.spawn_gateway()
        bank, alice = await system.run("bank", Bank), await system.run("alice")
        delivered = []
        for number in range(4):
            receipt = await alice.send("bank", "transfer", {"n": number})
            rejected = await alice.send("bank", "transfer", {"n": 100 + number})
            gateway.send_signal(signal.SIGKILL)
            await gateway.wait()
            assert {item.facts.message_id for item in await waiting(system)} >= {receipt.message_id}

            await approvals.decide(system.system, receipt.approval, approved=True, wait_s=0)
            await approvals.decide(system.system, rejected.approval, approved=False, wait_s=0)
            with pytest.raises(AlreadyDecided):
                await approvals.decide(system.system, receipt.approval, approved=False, wait_s=0)
            gateway = await system.spawn_gateway()
            delivered.append(number)
            await until(lambda wanted=tuple(delivered): len(bank.messages) >= len(wanted), 20)
        gateway.send_signal(signal.SIGKILL)
        await gateway.wait()
        await system.spawn_gateway()
        await alice.send("bank", "transfer", {"n": 200})

        assert bank.numbers == [0, 1, 2, 3]
        kinds = [record.kind for record in await system.audit() if record.kind.startswith("approval.")]
        assert sorted(kinds) == ["approval.approved"] * 4 + ["approval.rejected"] * 4
        assert await system.audit_holds()


async def test_a_new_owner_finds_what_waits(system):
    """Between hold and decision, and between decision and delivery."""
    bank, alice = await system.run("bank", Bank), await system.run("alice")
    numbers = itertools.count()
    before = await alice.send("bank", "transfer", {"n": next(numbers)})
    between = await alice.send("bank", "transfer", {"n": next(numbers)})
    await system.gateways[0].stop()
    await approvals.decide(system.system, between.approval, approved=True, wait_s=0)
    await system.start_gateway()
    await until(lambda: bank.numbers == [1])

    await approvals.decide(system.system, before.approval, approved=True)

    await until(lambda: bank.numbers == [1, 0])


async def test_each_partition_holds_its_own(any_url):
    """On two partitions and two gateways, in memory as on a real server."""
    names = ["alice", *(f"bank{number}" for number in range(6))]
    async with live_system(any_url, agents=names, partitions=2, gateways=2) as system:
        await add(system, "hold", "alice", "*")
        banks = [await system.run(name, Bank) for name in names[1:]]
        alice = await system.run("alice")
        ids = [(await alice.send(bank.id, "x", {"n": bank.id})).approval for bank in banks]
        assert {approval_id.partition("-")[0] for approval_id in ids} == {"0", "1"}
        assert {item.facts.approval_id for item in await waiting(system)} == set(ids)

        results = [await approvals.decide(system.system, one, approved=True) for one in ids]

        assert all(result.outcome.is_delivered for result in results)
        await until(lambda: all(bank.messages for bank in banks))
        assert [bank.numbers for bank in banks] == [[bank.id] for bank in banks]


async def test_a_rehearsal_holds_nothing(system):
    """It says that the message would be held, and by which rule."""
    asker = await system.client("alice")

    found = await asker.rehearse("bank", "transfer", {})

    assert found.decision == "held"
    assert [item.stage for item in found.stages if item.decision == "held"] == ["approval"]
    assert await waiting(system) == []


async def test_a_quarantined_sender_is_not_delivered_for(system):
    """What an operator says of an agent counts for what waits, too."""
    alice = await system.run("alice")
    receipt = await alice.send("bank", "transfer", {})
    await standings.set_standing(system.system, ["alice"], "quarantined", reason="odd")

    decided = await approvals.decide(system.system, receipt.approval, approved=True)

    assert (decided.outcome.decision, decided.outcome.is_delivered) == ("quarantined", False)
