"""The state machine of a circuit, by itself."""

import itertools
import random

import pytest

from mas_core.model.policy import BreakerLimits
from mas_core.resilience.circuit import Circuit, Passage, State

LIMITS = BreakerLimits(
    failures=3, rate=0.5, calls=8, window_ms=12_000, timeout_ms=1_000, jitter=0.5, trials=2, successes=2
)


def opened(limits=LIMITS, at=0):
    circuit = Circuit(limits)
    circuit.trip(at, 3)
    return circuit


def test_a_closed_circuit_lets_everything_pass():
    """And has nothing to wait for."""
    circuit = Circuit(LIMITS)

    assert (circuit.ask(0), circuit.wait_ms(0)) == (Passage.FREE, 0)


def test_failures_in_a_row_open_it():
    """The last of them, and not one before."""
    circuit = Circuit(LIMITS)

    assert [circuit.failed(now) for now in (1, 2, 3)] == [False, False, True]
    assert (circuit.state, circuit.since, circuit.failures) == (State.OPEN, 3, 3)


def test_a_success_ends_the_row():
    """What failed before it is in no row with what fails after it."""
    circuit = Circuit(LIMITS)
    circuit.failed(1)
    circuit.failed(2)
    circuit.succeeded(3)

    assert [circuit.failed(now) for now in (4, 5, 6)] == [False, False, True]


def test_their_share_opens_it():
    """From so many calls on that there is a share to speak of."""
    circuit = Circuit(LIMITS)
    outcomes = []
    for now in range(4):
        outcomes.append(circuit.failed(now * 10))
        circuit.succeeded(now * 10 + 5)

    # seven calls are too few; with the eighth, half of them have failed
    assert outcomes == [False] * 4
    assert circuit.failed(50)


def test_a_small_share_does_not():
    """However many failures there are."""
    circuit = Circuit(LIMITS)

    for now in range(100):
        circuit.succeeded(now, 2)
        assert not circuit.failed(now)
    assert circuit.state is State.CLOSED


def test_what_was_before_the_first_failure_is_no_excuse():
    """A target that worked for long and fails now opens as fast as any."""
    circuit = Circuit(LIMITS)
    circuit.succeeded(0, 1_000_000)

    assert [circuit.failed(now) for now in (1, 2, 3)] == [False, False, True]


def test_failures_leave_the_window():
    """Old ones are in no share."""
    circuit = Circuit(LIMITS)
    for now in range(3):
        circuit.failed(now)
        circuit.succeeded(now)
    assert not circuit.is_forgettable(11_000)

    assert circuit.is_forgettable(13_001)
    circuit.succeeded(14_000, 10)
    assert not circuit.failed(14_001)
    assert sum(slot[1] for slot in circuit._window) == 1


def test_an_open_circuit_refuses_until_its_time_is_over():
    """And tells how long that is."""
    circuit = opened(at=100)

    assert (circuit.ask(100), circuit.wait_ms(100)) == (Passage.REFUSED, 1000)
    assert (circuit.ask(1099), circuit.wait_ms(1099)) == (Passage.REFUSED, 1)
    assert circuit.ask(1100) is Passage.TRIAL
    assert circuit.state is State.HALF_OPEN


@pytest.mark.parametrize(("spread", "until"), [(0.0, 1000), (0.5, 1250), (1.0, 1500)])
def test_the_time_out_is_jittered(spread, until):
    """By as much of the jitter as chance says."""
    circuit = Circuit(LIMITS)
    circuit.trip(0, 3, spread)

    assert circuit.until == until


def test_a_half_open_circuit_lets_few_trials_pass():
    """One more when one has ended."""
    circuit = opened()
    assert circuit.ask(1000) is Passage.TRIAL
    circuit.begin_trial("a", 1000)
    assert circuit.ask(1001) is Passage.TRIAL
    circuit.begin_trial("b", 1001)

    assert circuit.ask(1002) is Passage.REFUSED
    assert circuit.wait_ms(1002) == 1000
    assert not circuit.end_trial("a", 1003, is_success=True)
    assert circuit.ask(1004) is Passage.TRIAL


def test_trials_that_go_well_close_it():
    """As many as the limits say; it then knows of no failure."""
    circuit = opened()
    circuit.ask(1000)
    circuit.begin_trial("a", 1000)
    circuit.begin_trial("b", 1000)

    assert not circuit.end_trial("a", 1010, is_success=True)
    assert circuit.end_trial("b", 1020, is_success=True)
    assert (circuit.state, circuit.since, circuit.in_a_row) == (State.CLOSED, 1020, 0)
    assert circuit.is_forgettable(1020)


def test_a_trial_that_fails_opens_it_again():
    """For the whole time-out; trials that are still on their way change nothing any more."""
    circuit = opened()
    circuit.ask(1000)
    circuit.begin_trial("a", 1000)
    circuit.begin_trial("b", 1000)

    assert circuit.end_trial("a", 1010, is_success=False, spread=1.0)
    assert (circuit.state, circuit.until, circuit.failures) == (State.OPEN, 2510, 4)
    assert not circuit.end_trial("b", 1020, is_success=True)
    assert circuit.ask(1020) is Passage.REFUSED


def test_a_trial_of_which_nothing_is_heard_is_lost():
    """After the time-out another may pass; what is told of the lost one then changes nothing."""
    circuit = opened()
    circuit.ask(1000)
    circuit.begin_trial("a", 1000)
    circuit.begin_trial("b", 1500)
    assert circuit.ask(1999) is Passage.REFUSED

    assert circuit.ask(2000) is Passage.TRIAL
    assert not circuit.end_trial("a", 2001, is_success=False)
    assert circuit.state is State.HALF_OPEN


def test_a_trial_can_be_given_up():
    """It decides nothing, and another may pass."""
    circuit = opened()
    circuit.ask(1000)
    circuit.begin_trial("a", 1000)
    circuit.begin_trial("b", 1000)
    circuit.give_up_trial("a")

    assert circuit.state is State.HALF_OPEN
    assert circuit.ask(1001) is Passage.TRIAL


def test_late_outcomes_of_ordinary_calls_are_not_counted():
    """What passed before it opened says nothing about now."""
    for circuit in (opened(), opened()):
        circuit.ask(1000)
        assert not circuit.failed(1001)
        circuit.succeeded(1001, 50)
        assert circuit.state is State.HALF_OPEN


def test_every_way_of_events_keeps_the_rules():
    """All sequences of six events: no passage while open, never more trials than allowed, one state at a time."""
    limits = BreakerLimits(
        failures=2, rate=1.0, calls=99, window_ms=1000, timeout_ms=100, jitter=0, trials=1, successes=1
    )
    events = ("call_ok", "call_bad", "trial_ok", "trial_bad", "wait")
    for sequence in itertools.product(events, repeat=6):
        circuit, now, row, expected, until = Circuit(limits), 0, 0, State.CLOSED, 0
        for event in sequence:
            now += 101 if event == "wait" else 1
            if expected is State.OPEN and now >= until:
                expected = State.HALF_OPEN
            passage = circuit.ask(now)
            assert circuit.state is expected, sequence
            assert passage is {
                State.CLOSED: Passage.FREE, State.OPEN: Passage.REFUSED, State.HALF_OPEN: Passage.TRIAL,
            }[expected]  # fmt: skip
            is_good = event.endswith("ok")
            if event.startswith("call") and passage is Passage.FREE:
                row = 0 if is_good else row + 1
                circuit.succeeded(now) if is_good else circuit.failed(now)
                if row == 2:
                    expected, until, row = State.OPEN, now + 100, 0
            elif event.startswith("trial") and passage is Passage.TRIAL:
                circuit.begin_trial("t", now)
                assert circuit.ask(now) is Passage.REFUSED
                assert circuit.end_trial("t", now, is_success=is_good)
                expected, until, row = (State.CLOSED, 0, 0) if is_good else (State.OPEN, now + 100, 0)


def test_a_model_with_all_calls_in_a_list_agrees():
    """Ten thousand random outcomes: the circuit opens exactly where counting every call says so."""
    chance = random.Random(7)
    limits = BreakerLimits(failures=6, rate=0.4, calls=10, window_ms=1200, timeout_ms=1)
    for _ in range(100):
        circuit, calls, row, now = Circuit(limits), [], 0, 0
        for _ in range(100):
            now += chance.randrange(0, 300)
            slot = now // 100
            is_good = chance.random() < 0.7
            calls = [call for call in calls if call[0] > slot - 12]
            while calls and calls[0][2]:
                # a slot that begins with successes keeps them only if a failure came before them
                before = [call for call in calls if call[0] == calls[0][0] and not call[2]]
                if before:
                    break
                calls.pop(0)
            if is_good:
                row = 0
                if calls:
                    calls.append((slot, now, True))
                circuit.succeeded(now)
                continue
            row += 1
            calls.append((slot, now, False))
            bad = sum(not good for _, _, good in calls)
            opens = row >= 6 or (len(calls) >= 10 and bad >= 0.4 * len(calls))
            assert circuit.failed(now) is opens
            if opens:
                break
