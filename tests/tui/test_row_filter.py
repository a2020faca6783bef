"""The language of the filter line."""

import pytest

from mas_cli.tui.row_filter import parse_filter
from mas_core.errors import UsageError

FIELDS = ("from", "to", "type", "decision", "bytes", "capabilities")
ROW = {
    "from": "tutor",
    "to": "notebook",
    "type": "task.done",
    "decision": "denied",
    "bytes": 120,
    "capabilities": ["math", "Text"],
}


def matches(text, row=ROW):
    return parse_filter(text, FIELDS).matches(row.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("tut", True),
        ("TUT", True),
        ("nobody", False),
        ("!nobody", True),
        ("tut note", True),
        ("tut nobody", False),
        ('"task.d"', True),
        ("type:task.*", True),
        ("type:task", False),
        ("type:x.*,task.*", True),
        ("!type:task.*", False),
        ("decision:refused", True),
        ("!decision:refused", False),
        ("bytes>100", True),
        ("bytes>=121", False),
        ("bytes<121", True),
        ("agent:notebook", True),
        ("agent:note*", True),
        ("agent:nobody", False),
        ("capabilities:text", True),
        ("capabilities:te", False),
        ("from:tu.*", False),
        ("120", True),
        ("bytes>", True),
        ("!", True),
    ],
)
def test_terms(text, expected):
    """Words, globs, lists, comparisons and their contraries; a dot is a dot."""
    assert matches(text) is expected


def test_highlighted_are_wanted_words_only():
    """What is shown because a word is missing has nothing to highlight."""
    assert parse_filter('abc !def type:x "g h"', FIELDS).words == ("abc", "g h")


@pytest.mark.parametrize("text", ["color:red", "bytes>many"])
def test_what_cannot_be_understood_is_said(text):
    """With the names that there are."""
    with pytest.raises(UsageError):
        parse_filter(text, FIELDS)


def test_a_hostile_filter_costs_little():
    """A glob of many stars on a long text ends."""
    assert not matches("type:" + "*a" * 12 + "b", {"type": "a" * 2_000})
