"""Messages on behalf of others: who asked is proven, told, recorded and, where the policy wants it, judged."""

import asyncio

import msgspec
import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import Forbidden, MessageExpired, UsageError
from mas_core.model.message import BEHALF_HEADER, Capsule, Envelope, Flag
from mas_core.model.policy import Features, Rule
from mas_core.ops import approvals
from mas_core.security.policy_changes import add_rule

NAMES = ["alice", "mallory", *(f"hop-{number}" for number in range(1, 10)), "vault"]


class Forwarding(Recorder):
    """Asks on behalf of whoever asked it, the way that the payload names, and gives the answer back."""

    async def on_message(self, message):
        """Go on to the first of `way`, and say where it ends on whose behalf it came."""
        await super().on_message(message)
        way = message.data["way"]
        if not way:
            await message.reply("told", {"behalf": list(message.on_behalf_of), "sender": message.sender_id})
            return
        answer = await self.request(
            way[0], "step", {"way": way[1:]}, on_behalf_of=message, headers=message.headers
        )
        await message.reply("told", answer.data)


@pytest.fixture
async def system(server_url):
    """Everybody may ask the hops, and only hop-1 the vault."""
    async with live_system(server_url, agents=NAMES, partitions=1) as opened:
        await opened.allow(*(("*", name) for name in NAMES if name.startswith("hop")), ("hop-1", "vault"))
        yield opened


async def raw(client, target, **fields):
    """Send an envelope with any content; its receipt."""
    return await client._outbox.submit(
        Envelope(
            **{
                "id": "raw",
                "target": target,
                "type": "x",
                "data": b"{}",
                "sent_at": client.now_ms(),
                **fields,
            }
        )
    )


async def run_hops(system, count):
    """The first hops, which forward."""
    return [await system.run(f"hop-{number}", Forwarding) for number in range(1, count + 1)]


async def test_s13_the_chain_of_who_asked_grows_with_each_step_and_is_told_and_recorded(system):
    """Plain messages keep it as well; nobody before the sender is left out."""
    await run_hops(system, 3)
    vault = await system.run("vault")
    alice = await system.run("alice")

    answer = await alice.request("hop-3", "step", {"way": ["hop-2", "hop-1"]})
    assert answer.data == {"behalf": ["alice", "hop-3"], "sender": "hop-2"}

    class Handing(Recorder):
        async def on_message(self, message):
            """Hand it on without waiting for an answer."""
            target = "vault" if self.id == "hop-1" else "hop-1"
            await self.send(target, "keep", {}, on_behalf_of=message)

    await system.run("hop-4", Handing)
    async with system.agent("hop-1", Handing):
        await alice._client.submit(
            Envelope("ask-1", "hop-4", "ask", b"{}", alice._client.now_ms(), flags=Flag.EXPECTS_REPLY)
        )
        await until(lambda: vault.messages)
    (kept,) = vault.messages
    assert (kept.sender_id, kept.on_behalf_of) == ("hop-1", ("alice", "hop-4"))
    assert kept.headers[BEHALF_HEADER] == "alice hop-4"
    (record,) = await system.audit(target="vault", type="keep")
    assert record.details["on_behalf_of"] == ["alice", "hop-4"]


async def test_s13_the_policy_can_want_the_rights_of_everybody_who_asked(system):
    """By default those of the sender count, and the target decides; with the switch the weakest of all do."""
    await run_hops(system, 2)
    await system.run("vault", Forwarding)
    alice = await system.run("alice")
    way = {"way": ["hop-1", "vault"]}

    assert (await alice.request("hop-2", "step", way)).data["behalf"] == ["alice", "hop-2"]

    await system.change_policy(features=Features(delegation_intersect=True))
    with pytest.raises(Exception, match="may not send step to vault"):
        await alice.request("hop-2", "step", way)
    *_, record = await system.audit(target="vault", type="step")
    assert record.decision == "denied"
    assert "on behalf of alice, and no rule allows it: alice may not request step" in record.reason
    assert record.details["on_behalf_of"] == ["alice", "hop-2"]

    await system.allow(("alice", "vault"))
    with pytest.raises(Exception, match="may not send step to vault"):
        await alice.request("hop-2", "step", way)
    await system.allow(("hop-2", "vault"))
    assert (await alice.request("hop-2", "step", way)).data["sender"] == "hop-1"


async def test_s13_loops_and_long_chains_are_refused(system):
    """A target that has asked already, the sender itself, and a ninth agent behind the sender."""
    hops = await run_hops(system, 9)
    alice = await system.run("alice")
    names = [hop.id for hop in hops]

    assert len((await alice.request("hop-1", "step", {"way": names[1:9]})).data["behalf"]) == 8
    await system.run("vault", Forwarding)
    await system.allow(("hop-9", "vault"))
    for way, rule in (
        (["hop-2", "hop-1"], "delegation_loop"),
        (["hop-1"], "delegation_loop"),
        ([*names[1:9], "vault"], "delegation_too_deep"),
    ):
        with pytest.raises(Exception, match="may not send step"):
            await alice.request("hop-1", "step", {"way": way})
        denied = [record for record in await system.audit(decision="denied") if record.rule == rule]
        assert denied, rule


async def test_s13_nobody_speaks_for_who_did_not_ask(system):
    """Not with a header, a capsule of somebody else, a changed one, one of another use, or one too late."""
    hop = await system.run("hop-1")
    alice = await system.run("alice")
    asking = asyncio.create_task(alice.request("hop-1", "ask", {}, timeout=1.5))
    await until(lambda: hop.messages)
    (message,) = hop.messages
    mallory = await system.run("mallory")

    async def sent(client, **fields):
        receipt = await raw(client, "hop-2", **fields)
        return receipt.decision, receipt.rule

    assert await sent(mallory._client, id="a", headers={BEHALF_HEADER: "alice"}) == (
        "unauthenticated", "sender_mismatch",
    )  # fmt: skip
    assert await sent(mallory._client, id="b", behalf=message.capsule) == ("denied", "delegation_invalid")
    capsule = msgspec.msgpack.decode(message.capsule, type=Capsule)
    for number, changes in enumerate(({"asker": "vault"}, {"chain": ("vault",)}, {"expires_at": 2**60})):
        forged = msgspec.msgpack.encode(msgspec.structs.replace(capsule, **changes))
        assert await sent(hop._client, id=f"c{number}", behalf=forged) == ("denied", "delegation_invalid")
    assert await sent(hop._client, id="d", behalf=b"\xc1") == ("denied", "delegation_invalid")
    assert (await sent(hop._client, id="e", behalf=b"x" * 1025))[0] == "invalid"
    assert await sent(hop._client, id="f", behalf=message.capsule) == ("allowed", "")

    # What asks for no answer gives no right to answer.
    other = await system.run("hop-2")
    await hop.send("hop-2", "keep", {}, on_behalf_of=message)
    await until(lambda: any(item.message_type == "keep" for item in other.messages))
    kept = other.messages[-1]
    receipt = await raw(
        other._client, "hop-1", id="g", flags=Flag.IS_REPLY, correlation=kept.message_id, capsule=kept.capsule
    )
    assert receipt.decision == "denied"

    await mallory.send("hop-1", "tell", {})
    await until(lambda: len(hop.messages) > 1)
    with pytest.raises(UsageError, match="no proof of who asked"):
        await hop.send("hop-2", "keep", {}, on_behalf_of=hop.messages[-1])
    with pytest.raises(TimeoutError):
        await asking
    with pytest.raises(MessageExpired):
        await hop.send("hop-2", "keep", {}, on_behalf_of=message)
    with pytest.raises(Forbidden):
        await hop.send("hop-1", "keep", {}, on_behalf_of=kept)


async def test_s13_what_waits_keeps_its_chain_and_is_judged_by_it_again(system):
    """A hold on who asked holds it; who may no more when somebody approves does not get it through."""
    await system.change_policy(features=Features(delegation_intersect=True))
    await system.system.policy.change(lambda document: add_rule(document, Rule("", "hold", "alice", "vault")))
    vault, hop, alice = await system.run("vault"), await system.run("hop-1"), await system.run("alice")
    asking = asyncio.create_task(alice.request("hop-1", "ask", {}))
    await until(lambda: hop.messages)

    held = [await hop.send("vault", "keep", {"n": n}, on_behalf_of=hop.messages[0]) for n in (1, 2)]
    assert [receipt.decision for receipt in held] == ["held", "held"]
    first = await approvals.decide(system.system, held[0].approval, approved=True)
    assert first.outcome.is_delivered
    await until(lambda: vault.numbers == [1])
    assert vault.messages[0].on_behalf_of == ("alice",)

    await system.system.policy.change(lambda document: add_rule(document, Rule("", "deny", "alice", "vault")))
    second = await approvals.decide(system.system, held[1].approval, approved=True)
    assert (second.outcome.decision, second.outcome.is_delivered) == ("denied", False)
    asking.cancel()
