"""What an agent may say in a call."""

import pytest

from mas_core.errors import InvalidIdentifier, UsageError
from mas_core.server import checks

HOSTILE = ["", " ", "x\n", "\x00", "*", "a:b", "{0}", "1-1\n", "\u0661-\u0661", "0" * 5000, "../x"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "check",
    [checks.instance, checks.consumer, checks.lane, checks.entry, checks.place, checks.topic, checks.group],
)
def test_what_could_reach_a_key_is_refused(check, text):
    """Nothing but names of the right shape gets through."""
    with pytest.raises((UsageError, InvalidIdentifier)):
        check(text)


def test_what_is_right_is_taken_as_it_is():
    """Names of the right shape are not changed."""
    assert checks.instance("0123456789abcdef") == "0123456789abcdef"
    assert checks.consumer("released") == "released"
    assert checks.lane("high") == "high"
    assert checks.entry("1763769600000-0") == "1763769600000-0"
    assert checks.place("0") == "0"
    assert checks.topic("orders.created") == "orders.created"
    assert checks.pattern("orders.>") == "orders.>"
    assert checks.positions([0, 2], 3) == (0, 2)


@pytest.mark.parametrize(("numbers", "total"), [([], 1), ([0], 0), ([1], 1), ([0, 0], 1), ([0], 65)])
def test_places_outside_of_a_frame_are_refused(numbers, total):
    """A frame has at most 64 messages, and each is named at most once."""
    with pytest.raises(UsageError):
        checks.positions(numbers, total)


def test_numbers_are_bounded():
    """Neither may a call wait for ever, nor name without end, nor reach a partition that is not there."""
    assert checks.block_ms(2**32 - 1) == checks.MAX_BLOCK_MS
    assert checks.partition(2, 3) == 2
    for refused in (lambda: checks.partition(3, 3), lambda: checks.few(checks.MAX_ITEMS + 1)):
        with pytest.raises(UsageError):
            refused()
