"""Row S35 at the machine: each ballot that must not count, and each trail that is not what it says."""

import hashlib
import json

import msgspec
import pytest
from support.voting import Hall

from mas_core.coordination.ballots import Sheet
from mas_core.coordination.trail import verify
from mas_core.model.vote import Count, Result, Trail


@pytest.fixture(name="hall")
def an_empty_hall():
    return Hall()


def codes(trail):
    """Why ballots were not taken."""
    return [item.code for turn in trail.rounds for item in turn.rejections]


def test_s35_the_same_ballot_again_counts_once(hall):
    """Repeating a ballot, also under another signature, is no second vote."""
    proposal = hall.open()
    assert [hall.vote("a", proposal, "yes") for _ in range(2)] == ["counted", "repeated"]
    hall.vote("b", proposal, "yes")

    assert hall.trail().result.reason == "it has 2, and 2 were needed"
    assert verify(hall.trail()).is_right


def test_s35_another_ballot_is_refused_and_the_first_stands(hall):
    """A voter cannot change its vote in a round; the attempt is in the trail."""
    proposal = hall.open()
    hall.vote("a", proposal, "yes")

    assert hall.vote("a", proposal, "no") == "double_vote"
    hall.vote("b", proposal, "yes")

    assert hall.trail().result.outcome == "accepted"
    assert codes(hall.trail()) == ["double_vote"]


def test_s35_equivocation_excludes_and_is_kept_as_evidence(hall):
    """In Byzantine mode two different ballots exclude their voter, whose weight still counts in the two thirds."""
    proposal = hall.open(participants=list("abcdefg"), byzantine=True)
    hall.vote("a", proposal, "yes")
    assert hall.vote("a", proposal, "no") == "equivocation"
    assert hall.vote("a", proposal, "yes") == "excluded"
    for voter in "bcde":
        hall.vote(voter, proposal, "yes")
    assert not hall.finished
    hall.vote("f", proposal, "yes")

    trail = hall.trail()
    [proof] = trail.rounds[0].equivocations
    assert (trail.result.outcome, trail.rounds[0].tally.needed) == ("accepted", 5)
    assert (proof.first.ranking, proof.second.ranking) == (("yes",), ("no",))
    assert "a" not in {ballot.voter for ballot in trail.rounds[0].ballots}
    assert "vote.equivocation" in {event.kind for event in hall.events}
    assert verify(trail).is_right


def test_two_thirds_of_the_weight_are_not_more_than_two_thirds(hall):
    """In Byzantine mode four of six do not decide, though they are all who voted."""
    proposal = hall.open(participants=list("abcdef"), byzantine=True)
    for voter in "abcd":
        hall.vote(voter, proposal, "yes")
    hall.wait(60_000)

    assert hall.trail().result.decided_by == "status_quo"
    assert verify(hall.trail()).is_right


def test_s35_an_equivocation_over_an_earlier_round_excludes_from_then_on(hall):
    """A second ballot for a round that is over is no vote, and still shows what its voter is."""
    proposal = hall.open(participants=list("abcd"), byzantine=True, on_tie="revote")
    for voter, choice in zip("abcd", ("yes", "yes", "no", "no"), strict=True):
        hall.vote(voter, proposal, choice)
    hall.vote("a", proposal, "yes", turn=2)

    assert hall.vote("a", proposal, "no", turn=1) == "equivocation"
    for voter in "bcd":
        assert hall.vote(voter, proposal, "yes", turn=2) == "counted"

    trail = hall.trail()
    assert {ballot.voter for ballot in trail.rounds[1].ballots} == set("bcd")
    assert trail.rounds[1].equivocations[0].round == 1
    assert verify(trail).is_right


def test_s35_a_late_vote_counts_nowhere(hall):
    """After the deadline, after the decision, and for an earlier round, the answer is late_vote."""
    proposal = hall.open(on_stall="revote")
    hall.now += 60_000
    assert hall.vote("a", proposal, "yes") == "late_vote"
    hall.vote("a", proposal, "yes", turn=2)
    hall.vote("b", proposal, "yes", turn=2)
    assert hall.vote("c", proposal, "yes", turn=2) == "late_vote"

    assert codes(hall.trail()) == ["late_vote"]
    assert verify(hall.trail()).is_right


def test_s35_strangers_do_not_vote(hall):
    """Who is no participant is refused, and so are proposer and operator, if they are none."""
    proposal = hall.open()

    assert {hall.vote(name, proposal, "yes") for name in ("d", "boss", "operator")} == {"not_a_participant"}


def test_s35_nobody_votes_for_another(hall):
    """A ballot says who its voter is, and that is the sender or nobody."""
    proposal = hall.open()
    ballot = hall.ballot("a", proposal, "yes")

    assert hall.say("b", "cast", {**ballot, "voter": "a"})["error"] == "not_your_vote"
    assert hall.say("b", "cast", ballot)["error"] == "forged_ballot"
    assert hall.say("b", "cast", hall.ballot("b", proposal, "yes", signer="a"))["error"] == "forged_ballot"
    assert hall.vote("b", proposal, "yes") == "counted"
    hall.vote("a", proposal, "yes")
    assert codes(hall.trail()) == ["not_your_vote", "forged_ballot", "forged_ballot"]


def test_s35_a_ballot_that_was_changed_on_its_way_is_forged(hall):
    """Choice, round and proposal are under the signature."""
    proposal = hall.open()

    assert hall.vote("a", proposal, "yes", ranking=["no"]) == "forged_ballot"
    assert hall.vote("a", proposal, "yes", round=2) == "forged_ballot"
    assert hall.vote("a", msgspec.structs.replace(proposal, title="x"), "yes") == "forged_ballot"


def test_s35_a_ballot_of_another_proposal_or_round_counts_not_here(hall):
    """Replaying a ballot elsewhere fails: its signature names proposal, digest and round."""
    first = hall.open("one", on_stall="revote")
    second = hall.open("two")
    ballot = hall.ballot("a", first, "yes")
    assert hall.say("a", "cast", ballot, "two")["error"] == "forged_ballot"
    hall.now += 1
    again = hall.open("three")
    assert hall.vote("a", msgspec.structs.replace(second, id="three"), "yes") == "forged_ballot"

    hall.wait(60_000)
    assert hall.say("a", "cast", ballot, "one")["error"] == "late_vote"
    ballot["ballots"][0]["round"] = 2
    assert hall.say("a", "cast", ballot, "one")["error"] == "forged_ballot"
    assert again.id == "three"


def test_s35_weights_do_not_change_once_it_is_open(hall):
    """Opening again with other weights is refused, and a ballot cannot carry a weight."""
    proposal = hall.open(strategy="weighted", participants={"a": 1, "b": 2})
    again = {"title": "Shall we?", "strategy": "weighted", "participants": {"a": 9, "b": 2}}

    assert hall.say("boss", "open", again)["error"] == "already_open"
    assert hall.vote("a", proposal, "yes", weight=9) == "invalid_payload"
    hall.vote("a", proposal, "yes")
    hall.vote("b", proposal, "no")

    assert hall.trail().result.choice == "no"


@pytest.mark.parametrize("ranking", [["x", "x"], ["x", "q"], [""], ["x", "y", "z", "x"]])
def test_s35_rankings_with_repeats_or_unknown_options_are_refused(hall, ranking):
    """A ranking names options of the proposal, each once; a shorter one will do."""
    proposal = hall.open(strategy="ranked", options=["x", "y", "z"])

    assert hall.vote("a", proposal, *ranking) == "invalid_ballot"
    assert hall.vote("a", proposal, "x", "y") == "counted"


def test_only_ranked_votes_take_a_ranking(hall):
    """Two options are no choice where one is asked for."""
    assert hall.vote("a", hall.open(), "yes", "no") == "invalid_ballot"


def test_refused_ballots_are_kept_up_to_a_bound(hall):
    """Whoever floods a vote with refused ballots fills no memory; the trail says how many were left out."""
    proposal = hall.open()
    for _ in range(70):
        hall.vote("stranger", proposal, "yes")
    for voter in "ab":
        hall.vote(voter, proposal, "yes")

    turn = hall.trail().rounds[0]
    assert (len(turn.rejections), turn.rejections_left_out) == (64, 6)


@pytest.mark.parametrize(
    "data", [{}, {"ballots": 7}, {"key_id": "k", "signature": "é", "ballots": []}, {"x": 1}]
)
@pytest.mark.parametrize("verb", ["open", "cast", "close", "get", "bribe"])
def test_rubbish_is_answered_and_changes_nothing(hall, verb, data):
    """Whatever is no command gets an error, and no proposal is touched."""
    hall.open("other")
    before = dict(hall.records)

    assert hall.say("a", verb, data)["error"] in {"invalid_payload", "not_found", "unknown_verb"}
    assert hall.records == before


def decided(hall, **motion):
    """A trail with two rounds and an equivocation."""
    proposal = hall.open(participants=list("abcd"), byzantine=True, on_tie="revote", **motion)
    for voter, choice in zip("abcd", ("yes", "yes", "no", "no"), strict=True):
        hall.vote(voter, proposal, choice)
    hall.vote("a", proposal, "yes", turn=2)
    hall.vote("a", proposal, "no", turn=2)
    for voter in "bcd":
        hall.vote(voter, proposal, "yes", turn=2)
    trail = hall.trail()
    assert verify(trail).is_right
    return trail


def replaced(item, **changes):
    return msgspec.structs.replace(item, **changes)


def change_ballot(trail, **changes):
    ballots = trail.rounds[1].ballots
    ballots[0] = replaced(ballots[0], **changes)


def change_proposal(trail, **changes):
    trail.proposal = replaced(trail.proposal, **changes)


def change_tally(trail):
    tally = trail.rounds[0].tally
    trail.rounds[0].tally = replaced(tally, counts=(Count({"yes": 3, "no": 1}),))


def drop_proof(trail):
    trail.rounds[1].equivocations.clear()


def fake_proof(trail):
    [proof] = trail.rounds[1].equivocations
    trail.rounds[1].equivocations[0] = replaced(proof, second=proof.first)


def swap_weights(trail):
    trail.proposal = replaced(
        trail.proposal, strategy="weighted", participants={"a": 1, "b": 1, "c": 1, "d": 9}
    )


def take_votes_along(trail):
    trail.rounds[1].ballots = trail.rounds[0].ballots


def forget_first_round(trail):
    del trail.rounds[0]


def other_result(trail):
    trail.result = Result("rejected", "no", "majority", "", 0)


def close_later(trail):
    trail.rounds[1].closed_by = "deadline"


def claim_choice(trail):
    trail.operator_choice = "yes"


def other_namespace(trail):
    trail.namespace = "elsewhere"


def longer_deadline(trail):
    trail.rounds[1].deadline += 1


@pytest.mark.parametrize(
    "tamper",
    [
        change_tally,
        drop_proof,
        fake_proof,
        swap_weights,
        take_votes_along,
        forget_first_round,
        other_result,
        close_later,
        claim_choice,
        other_namespace,
        longer_deadline,
        lambda trail: change_ballot(trail, ranking=("no",)),
        lambda trail: change_ballot(trail, ranking=("maybe",)),
        lambda trail: change_ballot(trail, voter="a"),
        lambda trail: change_ballot(trail, voter="stranger"),
        lambda trail: change_ballot(trail, at=0),
        lambda trail: trail.rounds[1].ballots.append(trail.rounds[1].ballots[0]),
        lambda trail: trail.rounds[1].ballots.pop(),
        lambda trail: trail.rounds.clear(),
        lambda trail: change_proposal(trail, title="Another question"),
        lambda trail: change_proposal(trail, quorum="nearly all"),
        lambda trail: change_proposal(trail, participants={"a": 1, "b": 1, "c": 1}),
        lambda trail: change_proposal(trail, is_byzantine=False),
        lambda trail: change_proposal(trail, opened=1),
    ],
)
def test_s35_a_fabricated_trail_is_found(hall, tamper):
    """Whatever is changed of ballots, weights, rounds, evidence, tally or result, verification finds it."""
    trail = msgspec.json.decode(msgspec.json.encode(decided(hall)), type=Trail)
    assert verify(trail).is_right

    tamper(trail)

    assert verify(trail).problems


def places(value, path=()):
    """Where the leaves of a JSON value are."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from places(item, (*path, key))
    else:
        yield path


def test_no_single_change_of_a_trail_goes_unnoticed(hall):
    """Each value of a trail, replaced: it cannot be read, does not verify, or is not what the audit has."""
    trail = decided(hall)
    text = msgspec.json.encode(trail)
    unproven = []
    for place in places(msgspec.json.decode(text)):
        for other in ("x", "AAAA", 0, 2, 10**30, True, None, ["no"]):
            changed = msgspec.json.decode(text)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if inner[place[-1]] == other and type(inner[place[-1]]) is type(other):
                continue
            inner[place[-1]] = other
            try:
                read = msgspec.json.decode(msgspec.json.encode(changed), type=Trail)
            except msgspec.ValidationError:
                continue
            if read == trail:
                continue
            assert read.digest() != trail.digest()
            if not verify(read).problems:
                unproven.append(".".join(map(str, place)))
    # Times are the gateway's word, as is what it refused.
    free = {"at", "closed", "rejections_left_out"}
    assert [place for place in unproven if place.rpartition(".")[2] not in free] == []


def test_keys_from_elsewhere_decide_whose_ballots_they_are(hall):
    """With the voters' known keys given, a trail of ballots under other keys does not verify."""
    trail = decided(hall)
    known = {ballot.voter: {ballot.signature.public_key} for ballot in trail.rounds[0].ballots}

    assert verify(trail, known).is_right
    assert not verify(trail, {**known, "b": {"00" * 32}}).is_right


@pytest.mark.parametrize("count", range(1, 18))
def test_every_ballot_of_a_sheet_leads_to_its_root(hall, count):
    """For sheets of any size each ballot verifies alone, and under no other place or path."""
    listed = [{"title": "t", "participants": ["a"], "name": str(number)} for number in range(count)]
    opened = hall.documents(hall.say("boss", "open", {"proposals": listed}, "batch"))
    hall.say("a", "cast", hall.sheet("a", opened, "yes"), "batch")

    assert len(Sheet([b""] * count).path(0)) == (count - 1).bit_length()
    for trail in hall.finished.values():
        assert verify(trail).is_right
        [ballot] = trail.rounds[0].ballots
        for changes in ({"index": ballot.signature.index + 1}, {"count": count + 1}, {"path": (b"x" * 32,)}):
            wrong = replaced(ballot.signature, **changes)
            trail.rounds[0].ballots[0] = replaced(ballot, signature=wrong)
            assert not verify(trail).is_right


def test_signatures_are_what_the_page_says(hall):
    """A program written from docs/consensus.md alone checks every ballot of a trail."""
    from base64 import b64decode

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    def sha(data):
        return hashlib.sha256(data).digest()

    def framed(*parts):
        texts = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
        return b"".join(b"%d:%b," % (len(text), text) for text in texts)

    listed = [{"title": "é", "participants": ["a", "b"], "name": str(number)} for number in range(5)]
    opened = hall.documents(hall.say("boss", "open", {"proposals": listed}, "batch"))
    for voter in "ab":
        hall.say(voter, "cast", hall.sheet(voter, opened, "yes"), "batch")

    checked = 0
    for trail in (json.loads(msgspec.json.encode(trail)) for trail in hall.finished.values()):
        proposal = trail["proposal"]
        text = json.dumps(proposal, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        digest = sha(b"mas proposal v1\x00" + text).hex()
        for ballot in trail["rounds"][0]["ballots"]:
            signed, ranking = ballot["signature"], ballot["ranking"]
            leaf = b"mas ballot v1\x00" + framed(
                proposal["id"], digest, 1, ballot["voter"], len(ranking), *ranking
            )
            root, index, width = sha(b"\x00" + leaf), signed["index"], signed["count"]
            path = [b64decode(item) for item in signed["path"]]
            while width > 1:
                if index ^ 1 < width:
                    other = path.pop(0)
                    root = sha(b"\x01" + (other + root if index % 2 else root + other))
                index, width = index // 2, (width + 1) // 2
            body = framed(trail["namespace"], ballot["voter"], signed["key_id"], signed["count"], root)
            text = b"DSSEv1 30 application/vnd.mas.ballots.v1 %d %b" % (len(body), body)
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed["public_key"]))
            key.verify(b64decode(signed["value"]), text)
            checked += 1
    assert checked == 10
