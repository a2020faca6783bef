"""What holds of every count, and that ranked votes agree with two libraries of others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from support.elections import by_pyrankvote, our_outcome, random_elections, recorded

from mas_core.coordination.tally import WINNER, is_certain, tally
from mas_core.coordination.trail import next_step
from mas_core.model.vote import Proposal, Round

OPTIONS = ("x", "y", "z")
VOTERS = tuple("abcdefg")


@some.composite
def votes(draw):
    """A proposal, the ballots of some of its participants, and who is excluded."""
    voters = VOTERS[: draw(some.integers(1, 7))]
    strategy = draw(some.sampled_from(("simple", "super", "unanimous", "weighted", "ranked")))
    has_weights = strategy in {"weighted", "ranked"}
    weights = {voter: draw(some.integers(1, 4)) if has_weights else 1 for voter in voters}
    proposal = Proposal(
        id="p",
        proposer="boss",
        title="t",
        participants=weights,
        opened=0,
        options=OPTIONS,
        strategy=strategy,
        threshold=draw(some.sampled_from(("2/3", "3/4"))) if strategy == "super" else "",
        quorum=draw(some.sampled_from(("0", "1/2", "1"))),
        is_byzantine=draw(some.booleans()),
        on_tie=(draw(some.sampled_from(("status_quo", "revote", "escalate"))),),
        on_stall=(draw(some.sampled_from(("status_quo", "revote", "escalate"))),),
    )
    rankings = {voter: draw(ballot(strategy)) for voter in voters}
    excluded = draw(some.sets(some.sampled_from(voters), max_size=1)) if proposal.is_byzantine else set()
    return proposal, rankings, excluded


def ballot(strategy):
    """A ranking, or one option, or an abstention."""
    longest = len(OPTIONS) if strategy == "ranked" else 1
    return some.permutations(OPTIONS).flatmap(
        lambda order: some.integers(0, longest).map(lambda length: tuple(order[:length]))
    )


@given(votes())
def test_weight_is_neither_lost_nor_made(vote):
    """In each count, what counts, what is exhausted and what abstained add up to what was cast."""
    proposal, rankings, excluded = vote
    found = tally(proposal, rankings, excluded)

    for count in found.counts:
        assert sum(count.weights.values()) + count.exhausted + found.abstained == found.cast
    assert found.cast + found.excluded == found.total


@given(votes())
def test_a_winner_has_what_was_needed_and_nobody_else_has(vote):
    """A winner has the needed weight, in Byzantine mode more than two thirds of all; without one nobody has."""
    proposal, rankings, excluded = vote
    found = tally(proposal, rankings, excluded)
    enough = [option for option, weight in found.counts[-1].weights.items() if weight >= found.needed]

    if found.finding == WINNER:
        assert enough == [found.winner]
        weight = found.counts[-1].weights[found.winner]
        assert not proposal.is_byzantine or 3 * weight > 2 * found.total
    else:
        assert not enough or found.finding == "no_quorum"


@given(votes(), some.randoms())
def test_the_order_of_ballots_does_not_matter(vote, source):
    """Counting is the same whoever voted first, and strangers' ballots change nothing."""
    proposal, rankings, excluded = vote
    shuffled = list(rankings.items())
    source.shuffle(shuffled)

    assert tally(proposal, {**dict(shuffled), "stranger": ("x",)}, excluded) == tally(
        proposal, rankings, excluded
    )


@given(votes(), some.data())
def test_a_round_that_ends_early_says_what_it_would_have_said(vote, data):
    """Once a round is called certain, no ballots of those who have not voted change what follows."""
    proposal, rankings, excluded = vote
    voted = data.draw(some.sets(some.sampled_from(list(rankings))))
    early = {
        voter: ranking for voter, ranking in rankings.items() if voter in voted and voter not in excluded
    }
    if not is_certain(proposal, early, excluded):
        return

    def follows(ballots):
        found = tally(proposal, ballots, excluded)
        step = next_step(proposal, [Round(1, 0, 1, OPTIONS, tally=found)])
        return step.kind, step.choice

    assert follows(early) == follows(rankings)


@given(votes(), some.sampled_from(VOTERS))
@settings(max_examples=50)
def test_more_support_does_not_hurt_where_one_option_is_chosen(vote, voter):
    """In votes for one option, a voter who joins the winner leaves it the winner."""
    proposal, rankings, excluded = vote
    found = tally(proposal, rankings, excluded)
    if proposal.strategy == "ranked" or found.finding != WINNER or voter not in rankings or voter in excluded:
        return

    assert tally(proposal, {**rankings, voter: (found.winner,)}, excluded).winner == found.winner


def test_ranked_votes_agree_with_pyrankvote():
    """Of 500 random elections, all in which no two options were ever equal have the same winner."""
    compared = 0
    for election in random_elections(500):
        ours = our_outcome(election)
        if not ours.has_equals:
            compared += 1
            assert ours.winner == by_pyrankvote(election), election
    assert compared > 150


def test_ranked_votes_agree_with_what_pref_voting_found():
    """The same 500 elections, ties by our published rule among them, have the winners that pref_voting found."""
    cases = recorded()

    assert len(cases) == 500
    assert sum(our_outcome(election).by_tie_rule for election, _ in cases) > 50
    for election, winner in cases:
        assert our_outcome(election).winner == winner, election


@pytest.mark.parametrize(
    ("ballots", "eliminated", "winner"),
    [
        ([("x",), ("y",), ("z",)], ["z"], None),
        ([("x", "y"), ("x", "y"), ("y",), ("y",), ("z", "y")], ["z"], "y"),
        ([("z",), ("z",), ("y", "z"), ("x", "z")], ["y"], "z"),
    ],
)
def test_the_tie_rule_takes_out_the_option_listed_last(ballots, eliminated, winner):
    """Of options with the same least weight the one that the proposal lists last goes; two left are tied."""
    proposal = Proposal(
        "p", "boss", "t", dict.fromkeys("abcdefg"[: len(ballots)], 1), 0, options=OPTIONS, strategy="ranked"
    )
    found = tally(proposal, dict(zip("abcdefg", ballots, strict=False)))

    assert [count.eliminated for count in found.counts if count.eliminated] == eliminated
    assert (found.winner or None) == winner
