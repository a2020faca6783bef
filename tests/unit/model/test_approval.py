"""Where a held message stands, for every decision and every time."""

import itertools

import pytest

from mas_core.model import approval
from mas_core.model.approval import ApprovalDecision, ApprovalState, state_of

YES = ApprovalDecision(True, "ann@host", 50)
NO = ApprovalDecision(False, "bob@host", 50)


@pytest.mark.parametrize(
    ("decision", "now", "state"),
    [
        (None, 99, ApprovalState.WAITING),
        (None, 100, ApprovalState.EXPIRED),
        (YES, 99, ApprovalState.APPROVED),
        (YES, 100, ApprovalState.EXPIRED),
        (NO, 99, ApprovalState.REJECTED),
        (NO, 100, ApprovalState.REJECTED),
    ],
)
def test_where_a_message_stands(decision, now, state):
    """A rejection is for good; an approval and waiting end with the time."""
    assert state_of(100, decision, now) is state


def test_nothing_that_has_ended_begins_again():
    """Whatever the order of time and decision: from rejected and expired no way leads back."""
    ended = {ApprovalState.REJECTED, ApprovalState.EXPIRED}
    for decision, times in itertools.product((YES, NO), itertools.combinations(range(90, 110), 3)):
        decided_at, *later = times
        if decided_at >= 100:
            continue
        states = [state_of(100, decision, now) for now in later]
        for before, after in itertools.pairwise(states):
            assert before not in ended or after is before


def test_names_lead_back():
    """From the id to its partition and its fields; other fields are no facts."""
    approval_id = approval.approval_id_of(3, 1234)

    assert approval_id == "3-1234"
    assert approval.APPROVAL_ID.fullmatch(approval_id)
    assert approval.partition_in(approval_id) == 3
    assert approval.item_in(approval.item_field(approval_id)) == approval_id
    assert approval.item_in(approval.decision_field(approval_id)) is None
    assert approval.due_name(approval_id).removeprefix(approval.DUE_PREFIX) == approval_id
