"""The checker of histories itself: it accepts what can be ordered and nothing else."""

import random

from tests.faults.linearizability import UNKNOWN, Operation, is_linearizable


def write(called, returned, value):
    return Operation(called, returned, True, value)


def read(called, returned, value):
    return Operation(called, returned, False, value)


def test_takes_what_can_be_ordered():
    """Overlapping operations in either order; writes of unknown outcome that happened, or did not."""
    assert is_linearizable([write(0, 1, "a"), read(2, 3, "a")])
    assert is_linearizable([write(0, 9, "a"), write(1, 8, "b"), read(2, 3, "b"), read(4, 5, "a")])
    assert is_linearizable([write(0, UNKNOWN, "a"), read(5, 6, "a"), read(7, 8, "a")])
    assert is_linearizable([write(0, UNKNOWN, "a"), read(5, 6, None)])


def test_finds_what_cannot():
    """A stale read, a value that comes back, a read of what nobody wrote."""
    assert not is_linearizable([write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a")])
    assert not is_linearizable([write(0, 9, "a"), write(0, 9, "b"), read(10, 11, "a"), read(12, 13, "b")])
    assert not is_linearizable([write(0, 1, "a"), read(2, 3, "c")])
    assert not is_linearizable([write(0, UNKNOWN, "a"), read(1, 2, "a"), read(3, 4, None)])


def test_agrees_with_brute_force_on_random_histories():
    """Every order of up to five operations is tried for 500 histories."""
    import itertools

    chance = random.Random(7)
    verdicts = set()
    for _ in range(500):
        history = []
        for _ in range(chance.randint(1, 5)):
            called = chance.randint(0, 8)
            returned = called + chance.randint(1, 5)
            history.append(Operation(called, returned, chance.random() < 0.5, chance.choice("ab")))

        def holds(order, history=history):
            value = None
            for position, operation in enumerate(order):
                if any(later.returned < operation.called for later in order[position + 1 :]):
                    return False
                if operation.is_write:
                    value = operation.value
                elif operation.value != value:
                    return False
            return True

        expected = any(holds(order) for order in itertools.permutations(history))
        verdicts.add(expected)
        assert is_linearizable(history) == expected
    assert verdicts == {True, False}
