"""What is counted of a target of which something failed."""

from mas_core.gateway.watches import FORGET_AFTER_MS, Pair, Watch, is_abandoned
from mas_core.model.policy import BreakerLimits
from mas_core.resilience.circuit import Circuit, State

LIMITS = BreakerLimits(failures=5, rate=0.5, window_ms=1000, timeout_ms=100, jitter=0)


def watch():
    return Watch(Circuit(LIMITS))


def pair(now=0):
    return Pair(Circuit(LIMITS), now)


def test_one_sender_counts_for_at_most_half_of_what_opens_a_circuit():
    """In every window anew."""
    watched = watch()

    assert [watched.takes_share("alice", 0) for _ in range(5)] == [True, True, True, False, False]
    assert [watched.takes_share("carol", 1) for _ in range(2)] == [True, True]
    assert watched.takes_share("alice", 1000)


def test_a_pair_opens_when_enough_of_its_messages_fail():
    """Of those that were delivered since the first failure."""
    bad = pair()
    assert [bad.failed(now, 0, is_payload=False) for now in range(5)] == [False] * 4 + [True]

    mixed = pair()
    mixed.failed(0, 0, is_payload=False)
    mixed.calls += 100
    assert not any(mixed.failed(1, 0, is_payload=False) for _ in range(30))
    assert mixed.circuit.state is State.CLOSED


def test_old_failures_of_a_pair_are_forgotten():
    """The window begins with the first that counts."""
    slow = pair()

    assert not any(slow.failed(now * 400, 0, is_payload=False) for now in range(20))


def test_whose_fault_a_pair_is():
    """The payloads', when most of what failed was refused for them."""
    payloads, handlers = pair(), pair()
    for number in range(4):
        payloads.failed(0, 0, is_payload=number > 0)
        handlers.failed(0, 0, is_payload=number > 2)

    assert (payloads.is_payload, handlers.is_payload) == (True, False)


def test_what_a_target_settled_although_it_failed_is_no_success():
    """The count of handled messages has both; failures in a row stay in a row."""
    watched = watch()
    for handled in range(1, 4):
        watched.note_failed_settled()
        watched.note_handled(handled, 0)
        watched.circuit.failed(0)
    assert watched.circuit.in_a_row == 3

    watched.note_failed_settled()
    watched.note_handled(9, 0)
    assert watched.circuit.in_a_row == 0


def test_an_instance_that_starts_ends_what_its_absence_counted():
    """And nothing else."""
    watched = watch()
    for _ in range(3):
        watched.circuit.failed(0)
    watched.absences = 2
    watched.came()

    assert (watched.circuit.in_a_row, watched.absences) == (1, 0)


def test_absence_concerns_only_who_waits_for_a_reply():
    """Other messages wait in the inbox."""
    watched = watch()
    assert watched.concerns(expects_reply=False)

    watched.is_absent = True
    assert (watched.concerns(expects_reply=True), watched.concerns(expects_reply=False)) == (True, False)


def test_an_open_circuit_that_nobody_tries_is_forgotten():
    """Long after its time-out."""
    circuit = Circuit(LIMITS)
    circuit.trip(0)

    assert not is_abandoned(circuit, 100 + FORGET_AFTER_MS)
    assert is_abandoned(circuit, 101 + FORGET_AFTER_MS)
    circuit.close(0)
    assert not is_abandoned(circuit, 10**12)
