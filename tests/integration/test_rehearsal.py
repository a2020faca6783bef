"""Rehearsals: the stages and policy that would judge a message answer, and nothing follows."""

import msgspec
import pytest
from support.systems import live_system

from mas_core.errors import InvalidPayload, Quarantined
from mas_core.model.decision import Decision
from mas_core.model.policy import RateLimit
from mas_core.ops.standings import set_standing

CARD = "4111 1111 1111 1111"


@pytest.fixture
async def system(any_url):
    """alice may talk to bob, not to carol."""
    async with live_system(
        any_url, agents=["alice", "bob", "carol"], allow=[("alice", "bob")], inbox_bound=2
    ) as opened:
        yield opened


def said(found):
    return {item.stage: item for item in found.stages}


async def test_a_message_that_would_pass_is_neither_delivered_nor_remembered(system):
    """Every stage is asked in the order of the gateway; it is recorded as a question."""
    bob, client = await system.run("bob"), await system.client("alice")

    found = await client.rehearse("bob", "x", {"n": 1})

    assert found.would_pass
    assert [item.stage for item in found.stages] == [
        "authenticate", *(stage.name for stage in _stages(system)), "fence", "schedule", "topic", "inbox",
    ]  # fmt: skip
    assert all(item.is_reached for item in found.stages)
    assert said(found)["access"].rule == "r1"
    await client.send("bob", "x", {"n": 2})
    assert [record.kind for record in await system.audit(sender="alice")] == ["rehearsal", "message"]
    assert await system.store.records.backlogs(["bob"]) in ([0], [1])
    assert 1 not in bob.numbers


def _stages(system):
    ((owner, _),) = system.gateways[0]._owners.values()
    return owner._directory.stages


async def test_a_refusal_shows_what_comes_behind_it_where_that_is_harmless(system):
    """Access says no; the scan of the sender's own payload is told, the target's inbox is not."""
    client = await system.client("alice")

    found = await client.rehearse("carol", "x", {"text": CARD})
    stages = said(found)

    assert (found.decision, stages["access"].is_reached) == (Decision.DENIED, True)
    assert "no rule allows it" in stages["access"].reason
    assert (stages["dlp"].decision, stages["dlp"].is_reached) == ("blocked", False)
    assert [(item.path, item.rule) for item in stages["dlp"].findings] == [("/text", "card")]
    assert (stages["inbox"].decision, stages["inbox"].is_reached) == ("unknown", False)
    assert CARD not in repr(found)
    assert CARD[-4:] not in repr(await system.audit())


async def test_what_would_be_redacted_is_told_as_places(system):
    """The message would pass, changed."""
    await system.change_policy(dlp_actions={"email": "redact"})
    client = await system.client("alice")

    found = await client.rehearse("bob", "x", {"text": "write to ada@example.com"})

    assert (found.decision, found.would_pass) == (Decision.REDACTED, True)
    (finding,) = said(found)["dlp"].findings
    assert (finding.path, finding.start, finding.end, finding.action) == ("/text", 9, 24, "redact")


async def test_nothing_is_counted_against_a_limit_or_an_inbox(system):
    """As often as one likes; the messages that are sent afterwards have all their places."""
    await system.change_policy(default_limit=RateLimit(per_minute=2, per_hour=10))
    client = await system.client("alice")

    for _ in range(10):
        assert (await client.rehearse("bob", "x", {})).would_pass
    await client.send("bob", "x", {})
    await client.send("bob", "x", {})

    full = await client.rehearse("bob", "x", {})
    assert (full.decision, said(full)["rate"].is_reached) == (Decision.RATE_LIMITED, True)
    assert said(full)["rate"].reason.endswith("alice: 2 of the 2 messages of this minute are used")
    assert said(full)["dlp"].decision == "allowed"
    assert (said(full)["inbox"].decision, said(full)["inbox"].is_reached) == ("unknown", False)
    await system.change_policy(default_limit=RateLimit(per_minute=20, per_hour=20))
    full = await client.rehearse("bob", "x", {})
    assert said(full)["rate"].reason == "2 of 20 this minute, 2 of 20 this hour"
    assert said(full)["inbox"].decision == "backpressure"


async def test_totals_and_signatures_are_rehearsed_too(system):
    """A total that others have used up is told; a message is signed as it would be in earnest."""
    features = (await system.system.policy.load()).features
    await system.change_policy(
        features=msgspec.structs.replace(features, message_signing=True),
        roles={"staff": ("alice", "bob")},
        totals={"role:staff": RateLimit(per_minute=1, per_hour=1)},
    )
    client = await system.client("alice")

    before = await client.rehearse("bob", "x", {})
    await client.send("bob", "x", {})
    after = await client.rehearse("bob", "x", {})

    assert (before.would_pass, said(before)["signature"].decision) == (True, "allowed")
    assert (after.decision, said(after)["totals"].is_reached) == (Decision.RATE_LIMITED, True)


async def test_a_request_to_nobody_is_told(system):
    """No instance of bob runs."""
    client = await system.client("alice")

    found = await client.rehearse("bob", "ask", {}, expects_reply=True)

    assert (found.decision, said(found)["inbox"].rule) == (Decision.NOT_FOUND, "no_responder")


async def test_an_unreadable_message_reaches_no_other_stage(system):
    """Behind the form nothing can be asked."""
    client = await system.client("alice")
    envelope = client._envelopes.make("bob", "x", {}, 5, 60.0, "", None)
    envelope.data = b'{"a":1,"a":2}'

    found = await rehearsed(client, envelope)

    assert found.decision is Decision.INVALID
    assert {item.is_reached for item in found.stages[2:]} == {False}


async def test_what_is_no_message_is_refused(system):
    """Whatever comes in the place of one."""
    client = await system.client("alice")
    asking = client._envelopes.to_gateway("mas.rehearse", None)
    asking.data = b"\xc1\xff"

    with pytest.raises(InvalidPayload, match="the gateway cannot read this"):
        await client._ask(asking, 5, 0)


async def test_a_quarantined_agent_may_not_even_ask(system):
    """The operator's word comes first; about one that is quarantined it is told."""
    alice, client = await system.client("alice"), await system.client("carol")
    await set_standing(system.system, ["carol"], "quarantined", reason="evidence")

    with pytest.raises(Quarantined):
        await client.rehearse("bob", "x", {})
    found = await alice.rehearse("carol", "x", {})

    assert (found.decision, said(found)["standing"].reason) == (
        Decision.QUARANTINED,
        "carol is quarantined: evidence",
    )


async def test_a_message_to_a_paused_agent_would_wait(system):
    """It would pass, and the stage says what awaits it."""
    client = await system.client("alice")
    await set_standing(system.system, ["bob"], "paused")

    found = await client.rehearse("bob", "x", {})

    assert (found.would_pass, said(found)["standing"].reason) == (True, "bob is paused: it would wait")


async def test_every_partition_rehearses_for_its_own_agents(server_url):
    """The question goes where the message would go, and the answer comes back."""
    names = [f"agent-{number}" for number in range(8)]
    async with live_system(
        server_url, agents=names, allow=[(names[0], name) for name in names], partitions=3, gateways=2
    ) as system:
        client = await system.client(names[0])
        for name in names[:-1]:
            assert (await client.rehearse(name, "x", {})).would_pass
        await set_standing(system.system, names[-2:], "quarantined")
        assert not (await client.rehearse(names[-1], "x", {})).would_pass


async def rehearsed(client, envelope):
    from mas_core.model.rehearsal import Rehearsal

    asking = client._envelopes.to_gateway("mas.rehearse", None)
    asking.data = msgspec.msgpack.encode(envelope)
    return msgspec.convert((await client._ask(asking, 5, 0)).data, Rehearsal)
