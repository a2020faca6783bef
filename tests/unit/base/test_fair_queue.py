"""Lanes are served by weight: the urgent first, and nobody starves."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mas_core.base.fair_queue import FairQueue
from mas_core.model.priority import LANE_WEIGHTS


def filled(weights, **items):
    queue = FairQueue(weights)
    for lane, texts in items.items():
        queue.extend(lane, texts)
    return queue


def test_lanes_that_are_full_share_by_weight():
    """8 high, 3 normal and 1 low in each round of 12 (P7)."""
    queue = filled(LANE_WEIGHTS, **{lane: [lane] * 1200 for lane in LANE_WEIGHTS})

    for _ in range(100):
        assert Counter(queue.take() for _ in range(12)) == {"high": 8, "normal": 3, "low": 1}


def test_the_first_of_a_new_queue_is_the_most_urgent():
    """Lanes that got equally much are served in the order of urgency."""
    queue = filled(LANE_WEIGHTS, low=["l"], normal=["n"], high=["h"])

    assert [queue.take() for _ in range(3)] == ["h", "n", "l"]
    assert len(queue) == 0


def test_the_order_within_a_lane_is_kept():
    """Whatever else comes between."""
    queue = filled(LANE_WEIGHTS, low=range(50), high=range(100, 200))
    taken = [queue.take() for _ in range(150)]

    assert [item for item in taken if item < 100] == list(range(50))
    assert [item for item in taken if item >= 100] == list(range(100, 200))


def test_a_lane_that_was_silent_has_no_claim_to_what_it_missed():
    """It gets its share from now on, and cannot keep the others waiting."""
    queue = filled(LANE_WEIGHTS, high=["h"] * 2000)
    for _ in range(1000):
        queue.take()
    queue.extend("low", ["l"] * 1000)

    assert Counter(queue.take() for _ in range(90))["l"] in (10, 11)


def test_large_items_count_as_what_they_are():
    """A lane with frames of many messages gets no more than one with frames of one."""
    queue = FairQueue({"high": 1, "low": 1})
    queue.extend("high", ["h"] * 1000)
    queue.extend("low", ["l"] * 1000)
    sizes = {"h": 100, "l": 1}
    taken = Counter()
    for _ in range(500):
        item = queue.peek()
        assert queue.take(sizes[item]) == item
        taken[item] += sizes[item]

    assert abs(taken["h"] - taken["l"]) <= 100


def test_an_empty_queue_gives_nothing():
    """And cleared ones are empty."""
    queue = filled(LANE_WEIGHTS, low=["x"])
    queue.clear()

    assert not queue
    for call in (queue.take, queue.peek):
        with pytest.raises(IndexError):
            call()


@given(
    weights=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)),
    sizes=st.tuples(st.integers(1, 256), st.integers(1, 256), st.integers(1, 256)),
    pulls=st.integers(1, 400),
)
def test_r20_every_lane_gets_its_share_whatever_the_sizes(weights, sizes, pulls):
    """Short of one item, at every moment (R20)."""
    lanes = ("a", "b", "c")
    queue = FairQueue(dict(zip(lanes, weights, strict=True)))
    for lane in lanes:
        queue.extend(lane, [lane] * pulls)
    size_of = dict(zip(lanes, sizes, strict=True))
    got = dict.fromkeys(lanes, 0)
    for _ in range(pulls):
        lane = queue.peek()
        queue.take(size_of[lane])
        got[lane] += size_of[lane]
    total = sum(got.values())
    for lane, weight in zip(lanes, weights, strict=True):
        # What the others may be ahead by is one item each.
        ahead = sum(size_of[other] for other in lanes)
        assert got[lane] >= (total - ahead) * weight / sum(weights) - size_of[lane]
