"""What operators say about rules counts at every gateway when the call returns."""

import msgspec
import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.base.ids import partition_of
from mas_core.errors import AgentNotFound, Conflict, Forbidden, InvalidIdentifier, PayloadBlocked, RateLimited
from mas_core.gateway.controls import MAX_METADATA_BYTES
from mas_core.model.policy import PolicyDocument
from mas_core.ops import agents, policy_people, rbac
from mas_core.ops.status import status

PAIRS = [("alice", "bob"), ("bob", "alice")]


@pytest.fixture
async def system(server_url):
    """alice and bob may talk to each other; carol may not."""
    async with live_system(server_url, agents=["alice", "bob", "carol"], allow=PAIRS) as opened:
        yield opened


def targets_of_both_partitions():
    names = [f"target-{number}" for number in range(20)]
    return [next(name for name in names if partition_of(name, 2) == number) for number in (0, 1)]


async def problems(system):
    """What `mas status` complains about, in one text."""
    return "; ".join(item.message for item in (await status(system.system)).problems)


async def are_shared(system):
    """Whether each partition has a gateway of its own."""
    owners = set(await system.owners())
    return len(owners) == 2 and "" not in owners


async def test_a_change_is_in_force_at_two_gateways_when_it_returns(server_url):
    """No message passes after a deny, none is refused after an allow, whichever gateway judges."""
    names = targets_of_both_partitions()
    async with live_system(server_url, agents=["alice", *names], partitions=2, gateways=2) as system:
        await until(lambda: are_shared(system))
        alice = await system.run("alice")
        for _ in range(20):
            rules = await rbac.add_rules(system.system, "allow", "alice", names)
            for name in names:
                await alice.send(name, "x", {})
            await rbac.revoke(system.system, [rule.id for rule in rules])
            for name in names:
                with pytest.raises(Forbidden):
                    await alice.send(name, "x", {})
        decisions = [record.decision for record in await system.audit(kind="message")]

    assert decisions.count("allowed") == decisions.count("denied") == 40


async def test_p11_a_blocked_agent_can_neither_send_nor_get_nor_answer_nor_see(system):
    """At once, whatever is allowed; the reason is told and recorded; unblocking mends it."""
    reached = []

    class Answering(Recorder):
        async def on_message(self, message):
            reached.append(message.sender_id)
            if message.expects_reply:
                await policy_people.mark(system.system, "blocked", "bob", reason="leaked its token")
            return {"n": 1}

    alice, bob = await system.run("alice"), await system.run("bob", Answering)
    assert [item["id"] for item in await alice.discover()] == ["bob"]

    with pytest.raises(TimeoutError):
        await alice.request("bob", "x", {}, timeout=1)
    for sender, target in PAIRS:
        with pytest.raises(Forbidden) as caught:
            await (alice if sender == "alice" else bob).send(target, "x", {})
        assert caught.value.details["rule"] == "block:bob"
        assert "Authorization denied: bob is blocked (leaked its token)" in caught.value.details["because"]
    assert await alice.discover() == []
    assert await bob.discover() == []

    await policy_people.unmark(system.system, "blocked", "bob")
    await alice.send("bob", "x", {})
    await until(lambda: len(reached) == 2)
    replies = [record for record in await system.audit(decision="denied") if record.correlation_id]
    assert [record.rule for record in replies][:1] == ["block:bob"]


async def test_p11_a_block_counts_where_the_scan_of_the_policy_is_broken(system):
    """A name that no rule of the scan has holds up nothing else; payloads are scanned as before."""
    alice = await system.run("alice")
    await system.change_policy(dlp_actions={"card": "block"})
    await alice.send("bob", "x", {})
    await system.change_policy(dlp_actions={"card": "block", "crad": "alert"})
    with pytest.raises(PayloadBlocked):
        await alice.send("bob", "x", {"card": "4111 1111 1111 1111"})
    await policy_people.mark(system.system, "blocked", "bob")

    with pytest.raises(Forbidden):
        await alice.send("bob", "x", {})

    async def is_told():
        return "payloads are scanned as before: 'crad' is neither" in await problems(system)

    await until(is_told)
    await system.change_policy(dlp_actions={})

    async def is_over():
        return "scanned as before" not in await problems(system)

    await until(is_over)


async def test_p11_a_block_counts_where_the_rules_are_switched_off(system):
    """It is no rule."""
    alice = await system.run("alice")
    await policy_people.switch(system.system, "rbac", value=False)
    await alice.send("carol", "x", {})
    await policy_people.mark(system.system, "blocked", "carol")

    with pytest.raises(Forbidden):
        await alice.send("carol", "x", {})


async def test_what_is_given_for_a_time_ends_by_the_clock_of_the_server(system):
    """A rule, trust and a block, without anybody's help."""
    alice, carol = await system.run("alice"), await system.run("carol")
    await rbac.add_rules(system.system, "allow", "alice", ["carol"], expires_in=0.6)
    await policy_people.mark(system.system, "trusted", "carol", expires_in=0.6)
    await alice.send("carol", "x", {})
    await carol.send("bob", "x", {})

    async def both_ended():
        for sender, target in ((alice, "carol"), (carol, "bob")):
            try:
                await sender.send(target, "x", {})
            except Forbidden:
                continue
            return False
        return True

    await until(both_ended)
    revision = (await rbac.load(system.system)).revision
    await policy_people.mark(system.system, "blocked", "bob", expires_in=0.6)
    with pytest.raises(Forbidden):
        await alice.send("bob", "x", {})

    async def passes():
        try:
            await alice.send("bob", "x", {})
        except Forbidden:
            return False
        return True

    await until(passes)
    assert (await rbac.load(system.system)).revision == revision + 1


async def test_p11_trust_opens_every_target_but_not_the_other_direction(system):
    """And a deny still wins."""
    alice, carol = await system.run("alice"), await system.run("carol")
    await policy_people.mark(system.system, "trusted", "carol", reason="dispatcher")
    await carol.send("alice", "x", {})
    with pytest.raises(Forbidden):
        await alice.send("carol", "x", {})
    await rbac.add_rules(system.system, "deny", "*", ["alice"])

    with pytest.raises(Forbidden):
        await carol.send("alice", "x", {})
    with pytest.raises(AgentNotFound):
        await policy_people.mark(system.system, "trusted", "nobody")
    with pytest.raises(Conflict):
        await policy_people.unmark(system.system, "trusted", "alice")


async def test_p2_roles_carry_rights_and_lose_them(system):
    """A member may what a rule gives its role, as long as it is one."""
    carol = await system.run("carol")
    await policy_people.add_role(system.system, "team")
    await rbac.add_rules(system.system, "allow", "role:team", ["alice"])
    with pytest.raises(Forbidden):
        await carol.send("alice", "x", {})
    await policy_people.assign(system.system, "team", ["carol"])
    await carol.send("alice", "x", {})
    await policy_people.unassign(system.system, "team", ["carol"])

    with pytest.raises(Forbidden):
        await carol.send("alice", "x", {})


async def test_p12_the_access_rules_and_the_limits_are_switched_off_and_on(system):
    """By command, with who and what in the history."""
    carol = await system.run("carol")
    await system.change_policy(
        limits={"carol": msgspec.structs.replace(PolicyDocument().default_limit, per_minute=1)}
    )
    await policy_people.switch(system.system, "rbac", value=False)
    await carol.send("alice", "x", {})
    with pytest.raises(RateLimited):
        await carol.send("alice", "x", {})
    await policy_people.switch(system.system, "rate_limit", value=False)
    await carol.send("alice", "x", {})
    await policy_people.switch(system.system, "rbac", value=True)

    with pytest.raises(Forbidden):
        await carol.send("alice", "x", {})
    newest = (await system.system.policy.history(1))[0]
    assert (newest.change, newest.changed_by) == ("rbac: on", system.system.actor)
    assert newest.changed_at > 0


async def test_s12_who_is_unknown_gets_nothing(server_url):
    """An unknown target, an empty policy, and a policy that is taken away: no, and never yes."""
    async with live_system(server_url, agents=["alice", "bob"], limit=None) as system:
        alice = await system.run("alice")
        with pytest.raises(Forbidden, match="alice may not send"):
            await alice.send("bob", "x", {})
        with pytest.raises(AgentNotFound):
            await alice.send("nobody", "x", {})
        await system.allow(("alice", "bob"))
        await alice.send("bob", "x", {})

        await system.store.connection.call("DEL", system.store.keys.policy())
        await system.store.records.raise_revision()

        with pytest.raises(Forbidden):
            await alice.send("bob", "x", {})
        denied = await system.audit(decision="denied")
        assert all(record.reason.startswith("Authorization denied: ") for record in denied)


async def test_s12_an_agent_that_is_removed_is_unknown_at_once(system):
    """Its token opens nothing any more, and nothing reaches it."""
    alice, carol = await system.run("alice"), await system.run("carol")
    await policy_people.mark(system.system, "trusted", "carol")
    await carol.send("alice", "x", {})
    await agents.deregister(system.system, "carol")

    with pytest.raises(AgentNotFound):
        await alice.send("carol", "x", {})
    assert (await rbac.load(system.system)).trusted == {}
    with pytest.raises(AgentNotFound):
        await policy_people.unmark(system.system, "blocked", "carol")
    assert await system.audit(sender="carol", decision="allowed", kind="message") != []


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "admin*",
        "\u0430dmin",
        "Admin",
        "ADMIN",
        "adm\u0131n",
        "admin\n",
        "role:admin",
        "a b",
        "?",
        "gateway",
    ],
)
async def test_s14_a_name_that_looks_like_another_is_refused_at_registration(system, name):
    """Wildcards, look-alikes and upper case cannot be names, so no rule can meet them by accident."""
    with pytest.raises(InvalidIdentifier):
        await agents.register(system.system, name, show=True)

    assert name not in await system.store.records.agent_ids()


async def test_s14_a_wildcard_stands_for_registered_agents_only(system):
    """`*` in a rule reaches who is registered, and nobody else."""
    alice = await system.run("alice")
    await rbac.add_rules(system.system, "allow", "alice", ["*"])
    await alice.send("carol", "x", {})

    for name in ("*", "car*", "Carol", "role:carol"):
        with pytest.raises((AgentNotFound, InvalidIdentifier)):
            await alice.send(name, "x", {})


async def test_s38_a_capability_that_the_policy_binds_cannot_be_claimed_by_others(system):
    """Not at the start, and not with a later heartbeat either: others never find it there."""
    await policy_people.bind(system.system, "diagnosis.*", ["bob"])
    await system.run("bob", capabilities=["diagnosis.eye", "notes"])
    alice = await system.run("alice")

    with pytest.raises(Forbidden) as caught:
        await system.agent("carol", capabilities=["notes", "diagnosis.eye"]).start()

    assert "does not let carol claim the capability diagnosis.eye" in caught.value.details["because"]
    assert [item["id"] for item in await alice.discover(["diagnosis.eye"])] == ["bob"]
    refused = await system.audit(kind="agent.attach", decision="denied")
    assert [record.sender for record in refused] == ["carol"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"note": "<script>alert(1)</script>"},
        {"note": "\x1b]52;c;aGk=\x07"},
        {"\x1b[31m": 1},
        {"deep": [{"note": "\u202egnp.exe"}]},
        {"note": "a\x00b"},
        {"note": "</b>"},
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": 1}}}}}}}}}},
        {"note": "x" * (MAX_METADATA_BYTES + 1)},
    ],
    ids=["html", "escape", "key", "bidi", "nul", "end-tag", "deep", "large"],
)
async def test_s38_metadata_that_a_reader_would_obey_is_refused(system, metadata):
    """Markup, terminal escapes, reversed text, too deep or too much: the agent does not start."""
    alice = await system.run("alice")

    with pytest.raises(Exception, match=r"(?i)metadata|invalid"):
        await system.agent("bob", metadata=metadata).start()

    assert await alice.discover() == []


async def test_s38_ordinary_metadata_passes(system):
    """Comparisons, accents, line ends and other scripts are no markup."""
    alice = await system.run("alice")
    metadata = {"note": "a < b > c\n\tgr\u00fc\u00df \u4f60\u597d", "tags": ["x", {"y": 1.5}]}
    await system.run("bob", metadata=metadata)

    assert [item["metadata"] for item in await alice.discover()] == [metadata]


async def test_s38_ten_megabytes_of_metadata_reach_nobody(system):
    """They do not get past the size of a frame's message, and others go on."""
    alice = await system.run("alice")

    with pytest.raises(Exception, match=r"(?i)metadata|bytes|large|invalid"):
        await system.agent("bob", metadata={"note": "x" * 10_000_000}).start()

    assert await alice.discover() == []


async def test_an_older_policy_put_back_by_somebody_else_is_ignored(system):
    """It carries our MAC, since we wrote it once; a running gateway knows better, and says so."""
    alice = await system.run("alice")
    old = await system.store.records.policy()
    (rule,) = [rule for rule in (await rbac.load(system.system)).rules if rule.target == "bob"]
    await rbac.revoke(system.system, [rule.id])
    with pytest.raises(Forbidden):
        await alice.send("bob", "x", {})
    connection, key = system.store.connection, system.store.keys.policy()
    await connection.call("HSET", key, *(part for pair in old.items() for part in pair))
    await system.store.records.raise_revision()

    with pytest.raises(Forbidden):
        await alice.send("bob", "x", {})

    async def is_told():
        return "the stored policy is older" in await problems(system)

    await until(is_told)
