"""How many instances should run: soon more, late less, never to and fro."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mas_core.runner.scale_plan import COMFORT, ScalePlan
from mas_core.settings.instances import Instances

RANGE = Instances(min=1, max=8, target=10, grow_after=3, cool_down=60)


def run(plan, backlogs, count=1, step_s=1.0, start=0.0):
    """Look once for each backlog; the number of instances after each, and when it changed."""
    counts, changes = [], []
    for number, backlog in enumerate(backlogs):
        now = start + number * step_s
        if step := plan.look(backlog, count, now):
            changes.append((now, step.count - count, step.reason))
            count = step.count
        counts.append(count)
    return counts, changes


def test_a_backlog_that_stays_doubles_the_instances_until_they_are_enough():
    """After three seconds 2, after three more 4, then the 5 that 50 messages call for."""
    counts, changes = run(ScalePlan(RANGE), [50] * 30)

    assert [change for _, change, _ in changes] == [1, 2, 1]
    assert counts[2:4] == [1, 2]
    assert counts[-1] == 5
    assert changes[0][2] == "at least 50 messages waited for 3 s, with a target of 10 an instance"


def test_a_short_peak_changes_nothing():
    """What is gone again within the time calls for nobody; the time begins anew with the next peak."""
    counts, _ = run(ScalePlan(RANGE), [500, 500, 500, 0] * 20)

    assert set(counts) == {1}


def test_the_lowest_backlog_of_the_time_counts():
    """A peak at the moment of the decision does not call for more than what stayed."""
    counts, _ = run(ScalePlan(RANGE), [15, 15, 15, 5000], count=1)
    more, _ = run(ScalePlan(RANGE), [45, 45, 45, 5000], count=4)

    assert counts[-1] == 2
    assert more[-1] == 5


def test_instances_go_one_by_one_after_the_cool_down():
    """Four idle instances become one in three minutes."""
    counts, changes = run(ScalePlan(RANGE), [0] * 400, count=4)

    assert [change for _, change, _ in changes] == [-1, -1, -1]
    assert [at for at, _, _ in changes] == [60, 120, 180]
    assert counts[-1] == 1


def test_instances_stay_while_the_others_would_be_more_than_half_full():
    """Between the half and the whole of the target nothing happens: there the number would go to and fro."""
    others = 3
    for backlog in range(int(others * 10 * COMFORT) + 1, 4 * 10 + 1):
        counts, _ = run(ScalePlan(RANGE), [backlog] * 300, count=4)
        assert set(counts) == {4}, backlog


def test_with_none_running_the_first_message_starts_one_at_once():
    """A range from 0 costs nothing while there is nothing to do."""
    plan = ScalePlan(Instances(min=0, max=4, cool_down=5))

    counts, _ = run(plan, [0, 1, 1, 0, *[0] * 20], count=0)

    assert counts[:3] == [0, 1, 1]
    assert counts[-1] == 0


def test_a_time_without_looks_counts_for_nothing():
    """After the store was away the waiting begins anew, in both directions."""
    plan = ScalePlan(RANGE)
    assert plan.look(500, 1, 0.0) is None
    assert plan.look(500, 1, 100.0) is None
    assert plan.look(500, 1, 103.0) is not None
    idle = ScalePlan(RANGE)
    assert idle.look(0, 4, 0.0) is None
    assert idle.look(0, 4, 100.0) is None


ranges = st.builds(
    lambda low, more, target, grow, cool: Instances(
        min=low, max=low + more, target=target, grow_after=grow, cool_down=cool
    ),
    st.integers(0, 4),
    st.integers(1, 12),
    st.integers(1, 50),
    st.sampled_from([0, 1, 3, 10]),
    st.sampled_from([5, 20, 60]),
)


@given(ranges, st.lists(st.integers(0, 2000), max_size=300), st.data())
@settings(max_examples=150, deadline=None)
def test_every_change_has_its_reason_in_what_came_before(instances, backlogs, data):
    """Growth: too much during all of the time. Shrinking: idle during all of it. Always within the range."""
    count = data.draw(st.integers(instances.min, instances.max))
    plan, history = ScalePlan(instances), []
    for now, backlog in enumerate(backlogs):
        history.append((now, backlog, count))
        step = plan.look(backlog, count, float(now))
        if step is None:
            continue
        assert instances.min <= step.count <= instances.max
        if step.count > count:
            time = instances.grow_after if count else 0
            recent = [item for item in history if item[0] >= now - time]
            assert all(seen > had * instances.target for _, seen, had in recent)
            assert step.count <= max(1, 2 * count)
            assert (step.count - 1) * instances.target < min(seen for _, seen, _ in recent)
        else:
            assert step.count == count - 1
            recent = [item for item in history if item[0] >= now - instances.cool_down]
            assert len(recent) >= instances.cool_down
            # The number was never lower before, so no instance goes that has just come.
            assert all(
                had >= count and seen <= (had - 1) * instances.target * COMFORT for _, seen, had in recent
            )
        count = step.count


@given(ranges, st.integers(0, 2000), st.data())
@settings(max_examples=150, deadline=None)
def test_a_backlog_that_stays_never_makes_the_number_go_to_and_fro(instances, backlog, data):
    """It goes one way and stops; then it is enough, or all there may be."""
    first = data.draw(st.integers(instances.min, instances.max))

    counts, changes = run(ScalePlan(instances), [backlog] * 1500, count=first)

    assert len({change > 0 for _, change, _ in changes}) <= 1
    assert len(set(counts[-60:])) == 1
    assert counts[-1] == instances.max or backlog <= counts[-1] * instances.target


@pytest.mark.parametrize("period", [2, 7, 30, 59])
def test_waves_shorter_than_the_cool_down_never_take_an_instance_away(period):
    """Work that comes and goes keeps the instances that it needs at its height."""
    waves = ([80] * period + [0] * period) * (1200 // period)

    counts, changes = run(ScalePlan(RANGE), waves, count=8)

    assert changes == []
    assert set(counts) == {8}
