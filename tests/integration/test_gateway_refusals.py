"""Who may send: tokens, policy, limits, and that changes are in force at the next message."""

import asyncio

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.agent.client import Client
from mas_core.base.clock import now_ms
from mas_core.errors import (
    AgentNotFound,
    Forbidden,
    RateLimited,
    Refused,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
)
from mas_core.model.policy import PolicyDocument, RateLimit, Rule
from mas_core.ops import agents
from mas_core.security.policy_changes import remove_rule, set_limit
from mas_core.security.tokens import new_token


@pytest.fixture
async def system(any_url):
    """alice may talk to bob."""
    async with live_system(any_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        yield opened


async def test_a_wrong_token_is_refused_at_the_start(system):
    """Another agent's token, or one that was never given out (P1)."""
    for token in (system.tokens["bob"], new_token(system.keys.public_key)):
        with pytest.raises(TokenInvalid, match="Authentication failed"):
            await system.agent("alice", token=token).start()
    with pytest.raises(TokenInvalid, match="not a token"):
        await system.agent("alice", token="hunter2").start()


async def test_an_agent_that_is_not_registered_is_refused_at_the_start(system):
    """With the command that registers it."""
    with pytest.raises(AgentNotFound, match="Agent not found: carol") as caught:
        await system.agent("carol", token=new_token(system.keys.public_key)).start()

    assert caught.value.hint == ("mas agent register carol",)


async def test_a_wrong_token_that_skips_the_check_gets_nothing_delivered(system):
    """The check at the start is a courtesy; the seal decides, and the audit names who it claimed to be."""
    thief = Client(system.store, "alice", system.tokens["bob"])
    thief.check_token = lambda: asyncio.sleep(0)
    bob = await system.run("bob")

    async with thief:
        with pytest.raises(Exception, match="no gateway confirmed the message in time"):
            await thief.send("bob", "x", {}, timeout=0.2)
    (record,) = await until(lambda: system.audit(kind="frame"))

    assert bob.messages == []
    assert record.decision == "unauthenticated"
    assert record.reason.startswith("Authentication failed")
    assert (record.sender, record.details["claimed_sender"]) == ("", "alice")


async def test_s5_a_revoked_token_is_refused_within_a_second_while_its_agent_runs(system):
    """From the next commit on (S5); and no new start is possible."""
    bob = await system.run("bob")
    alice = await system.run("alice")
    await alice.send("bob", "x", {"n": 1})

    began = now_ms()
    await agents.revoke_token(system.system, "alice")
    with pytest.raises(TokenRevoked, match="Authentication failed: the token was revoked"):
        await alice.send("bob", "x", {"n": 2})

    assert now_ms() - began < 1_000
    assert bob.numbers == [1]
    (record,) = await system.audit(decision="unauthenticated")
    assert (record.sender, record.target) == ("alice", "bob")
    with pytest.raises(TokenRevoked):
        await system.agent("alice").start()


async def test_an_expired_token_is_refused(system):
    """While its agent runs, and at the start."""
    await system.register("carol", expires_in=0.4)
    await system.allow(("carol", "bob"))
    carol = await system.run("carol")
    await carol.send("bob", "x", {})

    async def is_expired():
        try:
            await carol.send("bob", "x", {})
        except TokenExpired as error:
            return str(error)
        return ""

    assert await until(is_expired) == "Authentication failed: the token has expired"
    with pytest.raises(TokenExpired):
        await system.agent("carol").start()


async def test_a_removed_agent_can_neither_send_nor_be_sent_to(system):
    """At once."""
    alice = await system.run("alice")
    await system.register("carol")
    await system.allow(("alice", "carol"), ("carol", "alice"))
    carol = await system.run("carol")
    await agents.deregister(system.system, "carol")

    with pytest.raises(AgentNotFound):
        await alice.send("carol", "x", {})
    with pytest.raises(Exception, match="no gateway confirmed"):
        await carol._client.send("alice", "x", {}, timeout=0.2)


async def test_s6_rotation_under_load_loses_nothing(system):
    """Old and new instance send and receive during the overlap; the audit shows which key was used (S6)."""
    bob = await system.run("bob")
    old = await system.run("alice")
    sent = []

    async def send_all(agent, base):
        for number in range(40):
            await agent.send("bob", "x", {"n": base + number})
            sent.append(base + number)

    first = asyncio.create_task(send_all(old, 0))
    await until(lambda: len(sent) > 5)
    issued = await agents.rotate_token(system.system, "alice", overlap=60, show=True)
    new = await system.run("alice", token=issued.token)
    await send_all(new, 100)
    await first
    await until(lambda: len(bob.messages) >= len(sent))

    assert sorted(bob.numbers) == sorted(sent)
    assert len({record.key_id for record in await system.audit(sender="alice", kind="message")}) == 2


async def test_the_old_token_ends_with_the_overlap(system):
    """Then it is expired."""
    alice = await system.run("alice")
    await agents.rotate_token(system.system, "alice", overlap=0, show=True)

    with pytest.raises(TokenExpired):
        await alice.send("bob", "x", {})


async def test_messages_are_received_over_a_rotation(system):
    """What was delivered for the old and the new token together is opened with either."""
    alice = await system.run("alice")
    old = await system.run("bob")
    issued = await agents.rotate_token(system.system, "bob", overlap=60, show=True)
    new = await system.run("bob", token=issued.token)

    for number in range(30):
        await alice.send("bob", "x", {"n": number})
    await until(lambda: len(old.messages) + len(new.messages) == 30)

    assert sorted(old.numbers + new.numbers) == list(range(30))


async def test_what_waited_since_before_a_rotation_is_not_lost(system):
    """Messages that are sealed for the old token reach the agent that starts with the new one."""
    alice = await system.run("alice")
    await alice.send("bob", "x", {"n": 1})
    issued = await agents.rotate_token(system.system, "bob", overlap=0, show=True)

    bob = await system.run("bob", token=issued.token)
    await alice.send("bob", "x", {"n": 2})

    await until(lambda: sorted(bob.numbers) == [1, 2], seconds=3)


async def test_without_a_policy_nothing_is_allowed(any_url):
    """Not even between registered agents (S12)."""
    async with live_system(any_url, agents=["alice", "bob"], limit=None) as system:
        alice = await system.run("alice")

        with pytest.raises(Forbidden) as caught:
            await alice.send("bob", "x", {})
        assert await alice.discover() == []

    assert "no rule allows it" in caught.value.details["because"]


async def test_a_change_of_policy_is_in_force_at_the_next_message(system):
    """When the change returns, no message is judged by the old rules any more."""
    alice = await system.run("alice")

    for _ in range(5):
        document = await system.system.policy.load()
        await system.system.policy.change(lambda document: remove_rule(document, document.rules[0].id))
        assert document.rules
        with pytest.raises(Forbidden):
            await alice.send("bob", "x", {})
        await system.allow(("alice", "bob"))
        await alice.send("bob", "x", {})


async def test_deny_wins_and_names_its_rule(system):
    """The audit says which rule decided."""
    alice = await system.run("alice")
    await alice.send("bob", "x", {})
    await system.system.policy.change(
        lambda document: PolicyDocument(
            rules=(*document.rules, Rule("r9", "deny", "*", "bob", type="secret.*", reason="on leave")),
            default_limit=document.default_limit,
        )
    )

    with pytest.raises(Forbidden) as caught:
        await alice.send("bob", "secret.x", {})
    await alice.send("bob", "open.x", {})

    assert caught.value.details["rule"] == "r9"
    assert [record.rule for record in await system.audit(kind="message")] == ["r1", "r9", "r1"]


async def test_the_access_stage_can_be_switched_off(system):
    """P12: by the policy, not around it; the audit goes on."""
    document = await system.system.policy.load()
    bob = await system.run("bob")
    await system.change_policy(features=type(document.features)(rbac=False))

    await bob.send("alice", "x", {})

    assert [record.decision for record in await system.audit(kind="message")] == ["allowed"]


async def test_the_rate_limit_counts_every_message_of_an_agent(system):
    """Over all its instances; what is refused is told when to come again (S15)."""
    await system.system.policy.change(lambda document: set_limit(document, "alice", RateLimit(10, 1000)))
    bob = await system.run("bob")
    one, two = [await system.run("alice") for _ in range(2)]

    results = await asyncio.gather(
        *(agent.send("bob", "x", {"n": number}) for number in range(10) for agent in (one, two)),
        return_exceptions=True,
    )

    refused = [result for result in results if isinstance(result, RateLimited)]
    assert len(refused) == 10
    assert all(str(error).startswith("Rate limit exceeded") for error in refused)
    assert all(0 < error.details["retry_after"] <= 61 for error in refused)
    assert refused[0].retryable
    await until(lambda: len(bob.messages) == 10)
    assert len(await system.audit(decision="rate_limited")) == 10


async def test_refused_messages_count_against_the_limit(system):
    """Probing what is allowed is not free."""
    await system.register("carol")
    await system.system.policy.change(lambda document: set_limit(document, "alice", RateLimit(5, 1000)))
    alice = await system.run("alice")

    for _ in range(5):
        with pytest.raises(Forbidden):
            await alice.send("carol", "x", {})
    with pytest.raises(RateLimited):
        await alice.send("bob", "x", {})


async def test_a_rate_limited_message_may_come_again_under_the_same_id(system):
    """Refusals that pass leave no mark: with a higher limit it goes through."""
    await system.system.policy.change(lambda document: set_limit(document, "alice", RateLimit(1, 1000)))
    bob = await system.run("bob")
    alice = await system.run("alice")
    await alice.send("bob", "x", {"n": 1})
    with pytest.raises(RateLimited):
        await alice.send("bob", "x", {"n": 2}, message_id="again")

    await system.system.policy.change(lambda document: set_limit(document, "alice", RateLimit(100, 1000)))
    await alice.send("bob", "x", {"n": 2}, message_id="again")

    await until(lambda: bob.numbers == [1, 2])


async def test_replies_do_not_count(system):
    """They are bounded by the requests they answer."""

    class Echo(type(system.agent("bob"))):
        async def on_message(self, message):
            return {"ok": True}

    await system.system.policy.change(lambda document: set_limit(document, "bob", RateLimit(0, 0)))
    await system.run("bob", Echo)
    alice = await system.run("alice")

    assert (await alice.request("bob", "x", {})).data == {"ok": True}


async def test_every_refusal_is_recorded_and_the_chain_holds(system):
    """One record a message, whatever was decided."""
    alice = await system.run("alice")
    outcomes = []
    for target in ("bob", "nobody", "alice"):
        try:
            await alice.send(target, "x", {})
            outcomes.append("allowed")
        except (Refused, AgentNotFound) as error:
            outcomes.append(error.details["decision"])

    assert outcomes == ["allowed", "not_found", "denied"]
    assert [record.decision for record in await system.audit(kind="message")] == outcomes
    assert await system.audit_holds()
