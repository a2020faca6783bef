"""The machine of votes: what each strategy decides, what becomes of ties and stalls, and when a round ends."""

import pytest
from support.voting import Hall

from mas_core.coordination.trail import verify


@pytest.fixture(name="hall")
def an_empty_hall():
    return Hall()


def decide(hall, ballots, **motion):
    """Open, vote, wait for the deadline; the trail."""
    proposal = hall.open(participants=motion.pop("participants", list(ballots)), **motion)
    for voter, choice in ballots.items():
        if choice is not None:
            hall.vote(voter, proposal, *([choice] if isinstance(choice, str) else choice))
    hall.wait(60_000)
    trail = hall.trail()
    assert verify(trail).problems == []
    return trail


@pytest.mark.parametrize(
    ("motion", "ballots", "outcome", "choice"),
    [
        ({}, {"a": "yes", "b": "yes", "c": "no"}, "accepted", "yes"),
        ({}, {"a": "yes", "b": "no", "c": "no"}, "rejected", "no"),
        ({}, {"a": "yes", "b": None, "c": None}, "rejected", "no"),
        ({}, {"a": "yes", "b": [], "c": None}, "accepted", "yes"),
        ({}, {"a": [], "b": [], "c": []}, "rejected", "no"),
        ({"strategy": "super"}, {"a": "yes", "b": "yes", "c": "no"}, "accepted", "yes"),
        ({"strategy": "super", "threshold": "3/4"}, {"a": "yes", "b": "yes", "c": "no"}, "rejected", "no"),
        ({"strategy": "super", "threshold": 0.6}, {"a": "yes", "b": "yes", "c": "no"}, "accepted", "yes"),
        ({"strategy": "unanimous"}, {"a": "yes", "b": "yes", "c": "no"}, "rejected", "no"),
        ({"strategy": "unanimous"}, {"a": "yes", "b": "yes", "c": None}, "rejected", "no"),
        ({"strategy": "unanimous"}, {"a": "yes", "b": "yes", "c": []}, "accepted", "yes"),
        ({"quorum": 1.0}, {"a": "yes", "b": "yes", "c": None}, "rejected", "no"),
        ({"quorum": "0"}, {"a": "yes", "b": None, "c": None, "d": None}, "accepted", "yes"),
        (
            {"strategy": "weighted", "participants": {"a": 2.0, "b": 1, "c": 1}},
            {"a": "yes", "b": "no", "c": []},
            "accepted",
            "yes",
        ),
        (
            {"strategy": "weighted", "participants": {"a": 3, "b": 1}, "threshold": "4/5"},
            {"a": "yes", "b": "no"},
            "rejected",
            "no",
        ),
        (
            {"strategy": "ranked", "options": ["x", "y", "z"]},
            {"a": ["x", "y"], "b": ["x"], "c": ["y", "z"], "d": ["y"], "e": ["z", "y"]},
            "accepted",
            "y",
        ),
        ({"options": ["x", "y", "z"]}, {"a": "x", "b": "y", "c": "z"}, "rejected", ""),
    ],
)
def test_what_a_strategy_decides(hall, motion, ballots, outcome, choice):
    """Majority, larger majorities, all, weights and run-off decide as documented, with abstentions and quorum."""
    trail = decide(hall, ballots, **motion)

    assert (trail.result.outcome, trail.result.choice) == (outcome, choice)


def test_a_tied_last_round_of_ranked_votes_goes_to_the_option_listed_first(hall):
    """The published tie rule: of the last two with the same weight the one that is listed first wins."""
    trail = decide(hall, {"a": ["y"], "b": ["x"]}, strategy="ranked", options=["x", "y"])

    assert (trail.result.choice, trail.result.decided_by) == ("x", "order")


def test_a_round_ends_when_nothing_can_change_it(hall):
    """Two of three for yes end the vote at once; one of three does not."""
    proposal = hall.open()
    hall.vote("a", proposal, "yes")
    assert not hall.finished

    hall.vote("b", proposal, "yes")

    assert hall.trail().result.outcome == "accepted"
    assert hall.trail().rounds[0].closed_by == "certain"


def test_a_round_that_is_not_to_end_early_lasts_until_its_deadline(hall):
    """With early=False even the last ballot does not end the round."""
    proposal = hall.open(early=False, deadline=5)
    for voter in "abc":
        hall.vote(voter, proposal, "yes")
    assert not hall.finished
    hall.wait(4_999)
    assert not hall.finished

    hall.wait(1)

    assert hall.trail().rounds[0].closed_by == "deadline"


def test_a_tie_is_voted_on_again_and_then_escalated(hall):
    """Re-votes happen as often as the proposal says; after that its next way is taken, here a person's word."""
    proposal = hall.open(participants=["a", "b"], on_tie=["revote", "escalate"], max_rounds=2)
    for turn in (1, 2):
        assert hall.vote("a", proposal, "yes", turn=turn) == "counted"
        assert hall.vote("b", proposal, "no", turn=turn) == "counted"
    hall.wait(600_000)
    assert not hall.finished
    assert [event.kind for event in hall.events] == ["vote.opened", "vote.revote", "vote.escalated"]
    assert hall.say("boss", "close", {"choice": "yes"})["error"] == "not_yours"

    hall.say("operator", "close", {"choice": "yes"})

    trail = hall.trail()
    assert (trail.result.outcome, trail.result.decided_by) == ("accepted", "operator operator")
    assert verify(trail).is_right


def test_a_stall_goes_to_the_delegate_who_alone_decides_then(hall):
    """Without a quorum the named agent decides, by a signed ballot of its own; others come too late."""
    proposal = hall.open(on_stall="delegate", delegate="judge")
    hall.vote("a", proposal, "yes")
    hall.wait(60_000)
    assert hall.vote("b", proposal, "yes", turn=2) == "not_a_participant"

    assert hall.vote("judge", proposal, "yes", turn=2) == "counted"

    trail = hall.trail()
    assert (trail.result.outcome, trail.result.decided_by) == ("accepted", "delegate judge")
    assert verify(trail).is_right


def test_a_delegate_who_says_nothing_leaves_things_as_they_are(hall):
    """After the delegate's deadline the status quo holds."""
    hall.open(on_stall="delegate", delegate="judge")
    hall.wait(60_000)
    hall.wait(60_000)

    assert (hall.trail().result.outcome, hall.trail().result.decided_by) == ("rejected", "status_quo")
    assert verify(hall.trail()).is_right


def test_the_proposer_ends_a_vote_early_and_the_ballots_decide(hall):
    """Closing counts what is there; nobody else may close."""
    proposal = hall.open(participants=list("abcde"), quorum="1/5")
    hall.vote("a", proposal, "yes")
    assert hall.say("a", "close", {})["error"] == "not_yours"

    hall.say("boss", "close", {})

    assert hall.trail().result.outcome == "accepted"
    assert verify(hall.trail()).is_right


def test_opening_again_says_what_is_open_and_changes_nothing(hall):
    """The same proposal again is the same vote, also when it is finished; another one under its id is refused."""
    proposal = hall.open()
    hall.now += 10
    assert hall.open() == proposal

    for voter in "ab":
        hall.vote(voter, proposal, "yes")
    assert hall.open() == proposal
    assert hall.say("boss", "open", {"title": "Other", "participants": ["a"]})["error"] == "already_open"


def test_a_new_owner_goes_on_with_what_is_stored(hall):
    """Ballots, deadlines and finished votes survive a change of the owner."""
    first = hall.open("one")
    second = hall.open("two")
    hall.vote("a", first, "yes")
    for voter in "ab":
        hall.vote(voter, second, "yes")

    hall.restart()

    assert hall.vote("a", first, "yes") == "repeated"
    assert hall.vote("c", second, "yes") == "late_vote"
    assert hall.machine.next_due() == first.opened + 60_000
    hall.vote("b", first, "yes")
    assert verify(hall.trail("one")).is_right


def test_a_list_opens_many_and_one_sheet_votes_on_all(hall):
    """Proposals of one message and ballots under one signature decide each for itself, and each verifies alone."""
    listed = [
        {"title": "t", "participants": ["a", "b", "c"], "name": str(number)} for number in range(11)
    ] + [{"title": "", "participants": ["a"], "name": "x"}]
    answer = hall.say("boss", "open", {"proposals": listed}, "batch")
    opened = hall.documents(answer)
    assert [(error["name"], error["code"]) for error in answer["errors"]] == [("x", "invalid_payload")]

    for voter in "ab":
        hall.say(voter, "cast", hall.sheet(voter, opened, "yes"), "batch")

    assert len(hall.finished) == 11
    assert all(verify(trail).is_right for trail in hall.finished.values())
    assert [len(event.details["votes"]) for event in hall.events if event.kind == "vote.decided"] == [11]


def test_who_waits_is_told_when_all_is_decided(hall):
    """A question that waits is answered with the last of the decisions it waits for, and not before."""
    listed = [{"title": "t", "participants": ["a"], "name": name} for name in "xy"]
    opened = hall.documents(hall.say("boss", "open", {"proposals": listed}, "batch"))
    assert hall.say("boss", "get", {"proposals": {"x": 1, "y": 1}, "wait_ms": 9_000}, "batch") == {}
    for proposal in opened:
        before = len(hall.answers)
        hall.say("a", "cast", hall.sheet("a", [proposal], "yes"), "batch")

    told = [answer for answer in hall.answers[before:] if answer.agent == "boss"]
    assert len(told) == 1
    assert [vote["state"] for vote in told[0].data["votes"]] == ["accepted", "accepted"]


def test_who_waits_is_told_after_its_time_how_it_stands(hall):
    """Nobody waits for longer than it said, and whoever has its answer gets no second one."""
    proposal = hall.open(participants=["a"], deadline=600)
    assert hall.say("boss", "get", {"proposals": {"": 1}, "wait_ms": 5_000}) == {}
    assert hall.machine.next_due() == hall.now + 5_000

    hall.wait(5_000)

    assert hall.answers[-1].data["votes"][0]["state"] == "open"
    before = len(hall.answers)
    hall.vote("a", proposal, "yes")
    assert [answer.agent for answer in hall.answers[before:]] == ["a"]


def test_who_waits_hears_of_a_new_round(hall):
    """A re-vote is news to whoever knows of the first round only."""
    hall.open(on_stall="revote")
    assert hall.say("boss", "get", {"proposals": {"": 1}, "wait_ms": 60_000}) == {}

    hall.wait(60_000)

    assert [answer.data["votes"][0]["round"] for answer in hall.answers if answer.agent == "boss"][-1] == 2


def test_a_vote_of_many_writes_each_ballot_once(hall):
    """What is written grows with the ballots and not with their square, and a new owner knows all of them."""
    voters = [f"v{number:03d}" for number in range(200)]
    proposal = hall.open(participants=voters, early=False)
    largest = 0
    for voter in voters:
        before = dict(hall.records)
        hall.vote(voter, proposal, "yes")
        written = {name for name, record in hall.records.items() if before.get(name) != record}
        largest = max(largest, sum(len(hall.records[name]) for name in written))

    hall.restart()
    assert hall.vote("v150", proposal, "yes") == "repeated"
    assert hall.vote("v199", proposal, "no") == "double_vote"
    hall.wait(60_000)

    assert largest < 10_000
    assert [ballot.voter for ballot in hall.trail().rounds[0].ballots] == voters
    assert verify(hall.trail()).is_right
    assert list(hall.records) == ["plan"]


def test_what_one_message_opens_is_bounded(hall):
    """What proposals have in common is said once and stored for each, so the sum counts."""
    options = [f"{number:099d}" for number in range(64)]
    shared = {"title": "t", "participants": ["a"], "description": "x" * 4_000, "options": options}
    each = [{"name": str(number)} for number in range(1_000)]

    answer = hall.say("boss", "open", {"proposals": {"shared": shared, "each": each}}, "batch")

    assert {error["code"] for error in answer["errors"]} == {"too_many"}
    assert sum(map(len, hall.records.values())) < 12_000_000


def test_finished_votes_are_forgotten_after_a_while(hall):
    """What the machine keeps in memory does not grow with what was ever decided."""
    proposal = hall.open(participants=["a"])
    hall.vote("a", proposal, "yes")
    assert list(hall.records) == ["plan"]

    hall.wait(3_600_001)

    assert hall.records == {}
    assert hall.vote("a", proposal, "yes") == "not_found"


@pytest.mark.parametrize(
    "motion",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"participants": []},
        {"participants": ["a", "a"]},
        {"participants": ["not an id"]},
        {"participants": {"a": 2}},
        {"participants": {"a": 0}, "strategy": "weighted"},
        {"participants": {"a": 1.5}, "strategy": "weighted"},
        {"participants": {"a": float("inf")}, "strategy": "weighted"},
        {"options": ["yes"]},
        {"options": ["yes", "yes"]},
        {"options": ["yes", "\x1b[2J"]},
        {"strategy": "loudest"},
        {"threshold": "2/3"},
        {"strategy": "super", "threshold": "1/3"},
        {"strategy": "super", "threshold": "1/0"},
        {"strategy": "super", "threshold": float("nan")},
        {"quorum": 2},
        {"deadline": 0},
        {"deadline": float("nan")},
        {"deadline": 10**9},
        {"on_tie": "coin"},
        {"on_stall": "order"},
        {"on_tie": "delegate"},
        {"on_tie": ["revote", "revote"]},
        {"byzantine": True, "on_tie": "delegate", "delegate": "d"},
        {"max_rounds": 0},
        {"status_quo": "maybe"},
        {"surprise": 1},
    ],
)
def test_proposals_that_contradict_themselves_are_refused(hall, motion):
    """What cannot be voted on is refused with a reason, and nothing is opened."""
    answer = hall.say("boss", "open", {"title": "t", "participants": ["a", "b"], **motion})

    assert answer["error"] == "invalid_payload"
    assert answer["message"]
    assert hall.records == {}
