"""Votes on a real system: agents that vote by a handler, through the policy, and trails that verify."""

import asyncio

import msgspec
import pytest
from support.systems import live_system

from mas_core import Agent, Consensus, Motion, Proposal, VotingStrategy
from mas_core.agent.resources import ask
from mas_core.agent.vote_messages import sheet_of
from mas_core.coordination.ballots import ballot_bytes, sign_sheet
from mas_core.coordination.trail import verify
from mas_core.errors import (
    CoordinationRefused,
    DeadlineExceeded,
    EvidenceDamaged,
    Forbidden,
    InvalidPayload,
    ResourceNotFound,
    UsageError,
)
from mas_core.ops import consensus as records
from mas_core.ops import partitions

VOTERS = ("ann", "bob", "cat")


class Voter(Agent):
    """Votes as `choices` says: title of the proposal -> what it returns."""

    def __init__(self, *arguments, choices=None, **options):
        super().__init__(*arguments, **options)
        self.choices = choices or {}
        self.seen = []

    @Agent.on_proposal
    async def decide(self, proposal: Proposal):
        self.seen.append(proposal.title)
        choice = self.choices.get(proposal.title, True)
        return choice.pop(0) if isinstance(choice, list) else choice


async def hall(url, **options):
    """A system with a proposer and three voters, with rules for no more than that."""
    return live_system(url, agents=["boss", "stranger", *VOTERS], **options)


async def permit(live):
    """Only the proposer proposes, only the voters vote, and the proposer may ask them."""
    await live.allow(("boss", "vote:>"), action="propose")
    await live.allow(*((voter, "vote:>") for voter in VOTERS), action="vote")
    await live.allow(*(("boss", voter) for voter in VOTERS), type="consensus.proposal")


async def test_agents_vote_by_a_handler(server_url):
    """Every strategy: participants are asked, their answers become signed ballots, and the trail verifies."""
    choices = {
        "simple": (True, "yes", False),
        "weighted": ("no", "yes", "yes"),
        "ranked": (("x", "y"), ("y", "x"), ("z", "y")),
        "unanimous": ("yes", None, "yes"),
        "super": ("yes", "no", "no"),
    }
    async with await hall(server_url) as live:
        await permit(live)
        boss = await live.run("boss")
        for place, name in enumerate(VOTERS):
            await live.run(name, Voter, choices={title: answers[place] for title, answers in choices.items()})
        opened = {
            "simple": await boss.consensus.propose("simple", VOTERS),
            "weighted": await boss.consensus.propose(
                "weighted", {"ann": 5, "bob": 1, "cat": 1.0}, strategy="weighted"
            ),
            "ranked": await boss.consensus.propose(
                "ranked", VOTERS, strategy="ranked", options=["x", "y", "z"]
            ),
            "unanimous": await boss.consensus.propose("unanimous", VOTERS, strategy="unanimous"),
            "super": await Consensus(boss).propose("super", VOTERS, strategy=VotingStrategy.SUPER_MAJORITY),
        }
        results = await boss.consensus.wait(list(opened.values()), timeout=20)

        assert {title: results[vote.id].choice for title, vote in opened.items()} == {
            "simple": "yes",
            "weighted": "no",
            "ranked": "y",
            "unanimous": "yes",
            "super": "no",
        }
        keys = await records.known_keys(live.system, VOTERS)
        for vote in opened.values():
            trail = await records.trail(live.system, vote.id)
            found = verify(trail, keys)
            assert (found.problems, found.result) == ([], results[vote.id])
            assert (await records.proof(live.system, trail)).ok
        decided = await live.audit(kind="vote.decided")
        assert {record.details["votes"][0]["id"] for record in decided} == {
            vote.id for vote in opened.values()
        }
        assert await live.audit_holds()


async def test_a_tie_is_asked_again(server_url):
    """With re-votes the participants are asked once more, and their second answers decide."""
    async with await hall(server_url) as live:
        await permit(live)
        boss = await live.run("boss")
        ann = await live.run("ann", Voter, choices={"again?": [True, True]})
        bob = await live.run("bob", Voter, choices={"again?": [False, True]})
        vote = await boss.consensus.propose("again?", ["ann", "bob"], on_tie="revote")
        result = await vote.wait(20)

        assert (result.choice, ann.seen, bob.seen) == ("yes", ["again?"] * 2, ["again?"] * 2)
        assert verify(await records.trail(live.system, vote.id)).is_right


async def test_s35_the_policy_says_who_proposes_and_who_votes(server_url):
    """Without a rule nobody proposes, votes, closes or looks; a rule for agents gives nothing here."""
    async with await hall(server_url) as live:
        await permit(live)
        await live.allow(("stranger", "*"))
        boss, stranger = await live.client("boss"), Consensus(await live.client("stranger"))
        vote = await Consensus(boss).propose("t", VOTERS, proposal_id="plan", is_asking=False)
        for attempt in (
            stranger.propose("t", VOTERS),
            stranger.vote(vote.proposal, True, round_number=1),
            stranger.close("plan"),
            stranger.status("plan"),
            Consensus(boss).vote(vote.proposal, True, round_number=1),
            Consensus(await live.client("ann")).close("plan"),
        ):
            with pytest.raises(Forbidden):
                await attempt
        with pytest.raises(Forbidden) as refused:
            await stranger.propose("t", VOTERS)
        assert refused.value.hint[1] == "mas rbac allow stranger 'vote:>' --action propose"
        with pytest.raises(Forbidden) as refused:
            await stranger.vote("plan", True)
        assert refused.value.hint == (
            "mas rbac explain stranger vote:plan vote.cast",
            "mas rbac allow stranger vote:plan --action vote",
        )
        with pytest.raises(ResourceNotFound) as missing:
            await Consensus(boss).close("plam")
        assert missing.value.hint == ("mas consensus list",)


async def test_s35_ballots_that_must_not_count(server_url):
    """Double, late, strange, forged, replayed and foreign ballots at the real gateway; the trail tells of each."""
    async with await hall(server_url) as live:
        await permit(live)
        await live.allow(("stranger", "vote:>"), action="vote")
        boss = Consensus(await live.client("boss"))
        ann, bob, cat = [Consensus(await live.client(name)) for name in VOTERS]
        stranger = Consensus(await live.client("stranger"))
        vote = await boss.propose("t", VOTERS, proposal_id="plan", is_asking=False, early=False)
        other = await boss.propose("t", VOTERS, proposal_id="other", is_asking=False)
        proposal = vote.proposal

        async def refused(attempt):
            with pytest.raises(CoordinationRefused) as error:
                await attempt
            return error.value.details["agent_code"]

        assert await ann.vote("plan", "yes") == "counted"
        assert await ann.vote(proposal, "yes", round_number=1) == "repeated"
        assert await refused(ann.vote(proposal, "no", round_number=1)) == "double_vote"
        assert await refused(stranger.vote(proposal, "yes", round_number=1)) == "not_a_participant"
        assert await refused(bob.vote(proposal, "maybe", round_number=1)) == "invalid_ballot"
        assert await refused(bob.vote(proposal, "yes", round_number=2)) == "wrong_round"
        sheet = sheet_of(ann._client.link, [(proposal, "yes", 1)])
        sent = {
            "replayed by another": (bob, "plan", sheet),
            "for another": (
                bob,
                "plan",
                {**sheet_of(bob._client.link, [(proposal, "yes", 1)]), "voter": "ann"},
            ),
            "replayed elsewhere": (ann, "other", sheet),
        }
        codes = {
            name: await refused(ask(voter._client, "vote", resource, "cast", data))
            for name, (voter, resource, data) in sent.items()
        }
        assert codes == {
            "replayed by another": "forged_ballot",
            "for another": "not_your_vote",
            "replayed elsewhere": "forged_ballot",
        }
        heavy = {"title": "t", "participants": {"ann": 9, "bob": 1}, "strategy": "weighted"}
        assert await refused(ask(boss._client, "vote", "plan", "open", heavy)) == "already_open"
        await boss.close("plan")
        assert await refused(cat.vote(proposal, "yes", round_number=1)) == "late_vote"
        with pytest.raises(ResourceNotFound):
            await cat.vote("nothing", "yes")

        trail = await records.trail(live.system, "plan")
        assert verify(trail).is_right
        assert [item.code for item in trail.rounds[0].rejections] == [
            "double_vote",
            "not_a_participant",
            "invalid_ballot",
            "wrong_round",
            "forged_ballot",
            "not_your_vote",
        ]
        assert [ballot.voter for ballot in trail.rounds[0].ballots] == ["ann"]
        outcomes = {record.details.get("outcome") for record in await live.audit(target="vote:plan")}
        assert {"counted", "double_vote", "forged_ballot", "late_vote", "already_open"} <= outcomes
        assert other.unreached == {}


async def test_s35_equivocation_is_evidence_and_a_new_gateway_knows_it(server_url):
    """In Byzantine mode a second ballot excludes its voter, also after the gateway that saw it is gone."""
    voters = ["v1", "v2", "v3", "v4"]
    async with live_system(server_url, agents=["boss", *voters]) as live:
        await live.allow(("boss", "vote:>"), *((voter, "vote:>") for voter in voters))
        boss = Consensus(await live.client("boss"))
        clients = [Consensus(await live.client(voter)) for voter in voters]
        vote = await boss.propose("t", voters, byzantine=True, is_asking=False)
        await clients[0].vote(vote.id, True)
        with pytest.raises(CoordinationRefused) as caught:
            await clients[0].vote(vote.proposal, False, round_number=1)
        assert caught.value.details["agent_code"] == "equivocation"
        [gateway] = live.gateways
        await gateway.stop()
        await live.start_gateway()
        for client in clients[1:]:
            await client.vote(vote.id, True)
        result = await vote.wait(20)

        trail = await records.trail(live.system, vote.id)
        assert (result.outcome, trail.rounds[0].tally.needed) == ("accepted", 3)
        assert trail.rounds[0].equivocations[0].voter == "v1"
        assert verify(trail, await records.known_keys(live.system, voters)).is_right
        [event] = await live.audit(kind="vote.equivocation")
        assert event.sender == "v1"


async def test_s35_a_fabricated_tally_is_not_what_the_audit_has(server_url):
    """Who rewrites a trail under keys of its own convinces neither the known keys nor the audit."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    async with await hall(server_url) as live:
        await permit(live)
        boss = Consensus(await live.client("boss"))
        vote = await boss.propose("t", ["ann"], is_asking=False)
        await Consensus(await live.client("ann")).vote(vote.id, True)
        trail = await records.trail(live.system, vote.id)

        forger = Ed25519PrivateKey.generate()
        [ballot] = trail.rounds[0].ballots
        leaf = ballot_bytes(vote.id, vote.proposal.digest(), 1, "ann", ["no"])
        value = sign_sheet(forger, trail.namespace, "ann", ballot.signature.key_id, [leaf])
        signature = msgspec.structs.replace(
            ballot.signature, value=value, public_key=forger.public_key().public_bytes_raw().hex()
        )
        trail.rounds[0].ballots[0] = msgspec.structs.replace(ballot, ranking=("no",), signature=signature)
        tally = trail.rounds[0].tally
        [count] = tally.counts
        count = msgspec.structs.replace(count, weights={"yes": 0, "no": 1})
        trail.rounds[0].tally = msgspec.structs.replace(tally, winner="no", counts=(count,))
        trail.result = msgspec.structs.replace(trail.result, outcome="rejected", choice="no")

        assert verify(trail).is_right
        assert not verify(trail, await records.known_keys(live.system, ["ann"])).is_right
        assert not (await records.proof(live.system, trail)).ok


async def test_s35_a_record_that_no_gateway_wrote_stops_its_vote(server_url):
    """Who writes into the store makes no votes: the vote takes no more commands, and nobody is shown a trail."""
    async with await hall(server_url) as live:
        await permit(live)
        boss, ann = Consensus(await live.client("boss")), Consensus(await live.client("ann"))
        await boss.propose("t", VOTERS, proposal_id="plan", is_asking=False)
        other = await boss.propose("t", VOTERS, proposal_id="other", is_asking=False)
        [gateway] = live.gateways
        await gateway.stop()
        keys, connection = live.store.keys, live.store.connection
        record = await connection.call("HGET", keys.resources(0, "vote"), "other")
        await connection.call("HSET", keys.resources(0, "vote"), "plan", record)
        await live.start_gateway()

        with pytest.raises(CoordinationRefused) as refused:
            await ann.vote("plan", True)
        with pytest.raises(EvidenceDamaged):
            await records.trail(live.system, "plan")
        assert refused.value.details["agent_code"] == "spoiled"
        assert await ann.vote(other.proposal, True) == "counted"
        assert [row.id for row in await records.votes(live.system)] == ["other"]


async def test_votes_move_along_with_their_partition(server_url):
    """Open votes, their ballots, and trails of finished ones are found after the number of partitions changed."""
    voters = [f"v{number}" for number in range(10)]
    async with live_system(server_url, agents=["boss", *voters]) as live:
        await live.allow(("boss", "vote:>"), *((voter, "vote:>") for voter in voters))
        boss = Consensus(await live.client("boss"))
        clients = [Consensus(await live.client(voter)) for voter in voters]
        motions = [Motion("t", voters[:1]) for _ in range(3)]
        done = await boss.propose_many(motions, name="done", is_asking=False)
        await clients[0].vote_many([(vote.proposal, True, 1) for vote in done])
        vote = await boss.propose("t", voters, proposal_id="going.on", early=False, is_asking=False)
        for client in clients[:-1]:
            await client.vote(vote.proposal, True, round_number=1)
        before = [await records.trail(live.system, one.id) for one in (*done, vote)]

        await partitions.set_partitions(live.system, 4)

        assert [await records.trail(live.system, one.id) for one in (*done, vote)] == before
        assert await clients[-1].vote(vote.proposal, True, round_number=1) == "counted"
        await boss.close(vote.id)
        trail = await records.trail(live.system, vote.id)
        assert [ballot.voter for ballot in trail.rounds[0].ballots] == voters
        assert verify(trail).is_right
        assert (await records.proof(live.system, trail)).ok


async def test_many_proposals_in_one_message(server_url):
    """A list is opened, asked and decided with one message each way, and each proposal has a trail of its own."""
    async with await hall(server_url, partitions=3) as live:
        await permit(live)
        boss = await live.run("boss")
        voters = [await live.run(name, Voter) for name in VOTERS]
        motions = [Motion(f"number {number}", list(VOTERS)) for number in range(40)]
        votes = await boss.consensus.propose_many(motions, name="batch")
        results = await boss.consensus.wait(votes, timeout=20)

        assert len(results) == 40
        assert {result.choice for result in results.values()} == {"yes"}
        assert [len(voter.seen) for voter in voters] == [40, 40, 40]
        assert verify(await records.trail(live.system, "batch/17")).is_right
        assert len(await records.votes(live.system)) == 40
        cast = await live.audit(target="vote:batch", type="vote.cast")
        assert len(cast) == 3
        with pytest.raises(InvalidPayload):
            await boss.consensus.propose_many([Motion("", list(VOTERS))], name="other")


async def test_a_proposal_that_somebody_else_shows_gets_no_vote(server_url):
    """Handlers vote on what its own proposer shows, as it was opened, and on nothing else."""
    async with await hall(server_url) as live:
        await permit(live)
        await live.allow(("stranger", "ann"))
        boss = Consensus(await live.client("boss"))
        ann = await live.run("ann", Voter)
        vote = await boss.propose("t", ["ann"], is_asking=False)
        document = msgspec.to_builtins(vote.proposal)
        shown = {**document, "this_round": 1, "these_options": ["yes", "no"]}
        stranger, proposer = await live.client("stranger"), await live.client("boss")
        await stranger.send("ann", "consensus.proposal", {"proposals": [shown]})
        other = {**shown, "title": "harmless"}
        nowhere = {**shown, "id": "no such/id?", "is_byzantine": True, "proposer": "stranger"}
        await stranger.send("ann", "consensus.proposal", {"proposals": [nowhere]})
        await proposer.send("ann", "consensus.proposal", {"proposals": [other]})
        while not ann.seen:
            await asyncio.sleep(0.01)
        with pytest.raises(DeadlineExceeded):
            await vote.wait(0.3)

        assert ann.seen == ["harmless"]
        await proposer.send("ann", "consensus.proposal", {"proposals": [shown]})
        assert (await vote.wait(20)).choice == "yes"


async def test_an_honest_voter_that_is_asked_twice_votes_once(server_url):
    """A message that comes again makes no second ballot in Byzantine mode, whatever the handler would say now."""
    async with await hall(server_url) as live:
        await permit(live)
        boss = await live.run("boss")
        ann = await live.run("ann", Voter, choices={"strict": [True, False]}, ordered=True)
        await live.run("bob", Voter)
        terms = {"byzantine": True, "early": False, "deadline": 30}
        vote = await boss.consensus.propose("strict", ["ann", "bob"], **terms)
        shown = {**msgspec.to_builtins(vote.proposal), "this_round": 1, "these_options": ["yes", "no"]}
        for _ in range(2):
            await boss.send("ann", "consensus.proposal", {"proposals": [shown]})
        later = await boss.consensus.propose("plain", ["ann"])
        await later.wait(20)
        while len((await boss.consensus.status(vote.id))["voted"]) < 2:
            await asyncio.sleep(0.01)
        await boss.consensus.close(vote.id)

        assert ann.seen == ["strict", "plain"]
        trail = await records.trail(live.system, vote.id)
        assert (trail.result.choice, trail.rounds[0].equivocations) == ("yes", [])


async def test_who_cannot_be_asked_is_told_and_the_deadline_decides(server_url):
    """A participant that no rule lets the proposer ask is named; without it the deadline ends the round."""
    async with await hall(server_url) as live:
        await permit(live)
        boss = await live.run("boss")
        await live.run("ann", Voter)
        vote = await boss.consensus.propose("t", ["ann", "stranger"], quorum="1", deadline=0.5)
        result = await vote.wait(20)

        assert vote.unreached == {"stranger": "forbidden"}
        assert (result.outcome, result.decided_by) == ("rejected", "status_quo")


def test_only_async_methods_vote():
    """A method that cannot be awaited is refused when the class is made."""
    with pytest.raises(UsageError):

        class Wrong(Agent):
            @Agent.on_proposal
            def decide(self, proposal):
                return True


async def test_votes_need_no_server(own_namespace):
    """In memory everything is the same."""
    async with Voter("ann", redis_url=f"memory://{own_namespace}") as ann:
        vote = await ann.consensus.propose("t", ["ann"])
        assert await ann.consensus.vote(vote.id, ("yes",)) == "counted"
        assert (await vote.wait(5)).choice == "yes"
        with pytest.raises(InvalidPayload):
            await ann.consensus.propose("t", [])
