"""Which starts of a message came to nothing, from what the agent noted."""

import pytest

from mas_core.gateway.burned_starts import MAX_READ, burned_starts

MARKS = "*=100=i1 0=200=i2 3=210=i2 3=300=i3 3=400=i4"


@pytest.mark.parametrize(
    ("position", "instance", "attempt", "expected"),
    [
        (3, "i4", 1, [(1, 100, "i1"), (2, 210, "i2"), (3, 300, "i3")]),
        (3, "i4", 2, [(2, 210, "i2"), (3, 300, "i3")]),
        (3, "i9", 1, [(1, 100, "i1"), (2, 210, "i2"), (3, 300, "i3"), (4, 400, "i4")]),
        (0, "i2", 1, []),
        (5, "i4", 1, []),
    ],
)
def test_each_start_of_a_dead_instance_is_an_attempt(position, instance, attempt, expected):
    """Not that of the one that lives; and the first holder only where somebody died of it."""
    found = burned_starts(MARKS, position, instance, attempt)

    assert [(one.number, one.at, one.instance) for one in found] == expected
    assert {one.code for one in found} <= {"died"}


@pytest.mark.parametrize(
    "marks",
    [
        "",
        "3=2",
        "3=x=i1",
        "-1=5=i1",
        "3=5=",
        "3=5=<b>",
        "3=5=i\x1b[2J",
        "9" * 10_000,
        "3==i1 ==",
        "\ufffd3=5=" + "i" * 65,
    ],
)
def test_what_nobody_would_note_counts_for_nothing(marks):
    """The agent may write there what it wants."""
    assert burned_starts(marks, 3, "me", 1) == []


def test_only_so_many_are_read():
    """However many are there."""
    marks = " ".join(f"3={number}=i{number}" for number in range(100_000))

    assert len(burned_starts(marks, 3, "me", 1)) == MAX_READ
