"""Patterns over names with dots."""

import pytest

from mas_core.errors import FilterInvalid
from mas_core.events.patterns import compile_pattern, literal_prefix


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("orders.created", ["orders.created"], ["orders", "orders.created.eu", "Orders.created"]),
        ("orders.*", ["orders.created"], ["orders", "orders.", "orders.created.eu", "ordersx.created"]),
        ("orders.>", ["orders.created", "orders.created.eu"], ["orders", "orders.", "orders..x", "order.x"]),
        ("*.created", ["orders.created"], ["created", "a.b.created", ".created"]),
        ("*.eu.>", ["a.eu.b", "a.eu.b.c"], ["a.eu", "eu.b", "a.us.b"]),
        (">", ["orders", "orders.created", ""], []),
        ("*", ["orders"], ["orders.created", ""]),
    ],
)
def test_a_star_is_one_word_and_an_arrow_is_the_rest(pattern, matching, others):
    """Words are whole, and an empty one is none."""
    matches = compile_pattern(pattern)

    assert [name for name in (*matching, *others) if matches(name)] == matching
    assert all(name.startswith(literal_prefix(pattern)) for name in matching)


@pytest.mark.parametrize(
    ("pattern", "column"),
    [("", 1), ("orders..x", 8), ("orders.>.x", 8), ("ord*", 1), ("a.b>", 3), ("a b", 1), ("a.\x1b", 3)],
)
def test_what_cannot_be_a_pattern_is_refused_with_its_place(pattern, column):
    """The column is that of the word."""
    with pytest.raises(FilterInvalid) as refused:
        compile_pattern(pattern)

    assert refused.value.details["column"] == column
