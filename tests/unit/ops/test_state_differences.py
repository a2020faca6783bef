"""What differs between two states."""

import pytest

from mas_core.ops.state_differences import differences


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({}, {}, []),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}, []),
        ({"a": 1}, {"a": 2}, [("a", "changed", 1, 2)]),
        ({"a": 1}, {"a": True}, [("a", "changed", 1, True)]),
        ({"a": None}, {}, [("a", "removed", None, None)]),
        ({}, {"a": {"b": 1}}, [("a", "added", None, {"b": 1})]),
        ({"a": [1, 2]}, {"a": [1, 3, 4]}, [("a.1", "changed", 2, 3), ("a.2", "added", None, 4)]),
        ({"a": {"b": 1}}, {"a": ["b"]}, [("a", "changed", {"b": 1}, ["b"])]),
        ({"a": 1}, [], [(".", "changed", {"a": 1}, [])]),
    ],
)
def test_each_part_that_differs_is_told_once(before, after, found):
    """With its path; what is nothing is not null, and what is true is not 1."""
    got = [(item.path, item.change, item.before, item.after) for item in differences(before, after)]

    assert got == found
