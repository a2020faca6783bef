"""What an instance says of itself."""

import pytest

from mas_core.model.registration import InstanceStatus


@pytest.mark.parametrize(
    ("at_once", "in_hand", "status", "free"),
    [
        (8, 3, "active", 5),
        (8, 20, "active", 0),
        (8, -20, "active", 8),
        (8, 0, "draining", 0),
        (0, 3, "active", 0),
    ],
)
def test_an_instance_is_free_for_what_it_would_begin_at_once(at_once, in_hand, status, free):
    """Never more than it handles at a time, whatever it says; nothing while it drains."""
    said = InstanceStatus("calc.1", 1, 2, status=status, in_hand=in_hand, at_once=at_once)
    assert said.free == free
