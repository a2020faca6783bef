"""Filters in the Common Expression Language."""

import subprocess
import sys

import pytest

from mas_core.errors import FilterInvalid
from mas_core.events.expressions import Expression, Undecided
from mas_core.model.event import Event

EVENT = Event("order.created", "shop", {"amount": 120, "tags": ["new"], "zero": 0}, "orders.eu", time=5)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('type == "order.created" && data.amount > 100', True),
        ('"new" in data.tags && topic.startsWith("orders.")', True),
        ("has(data.refund)", False),
        ('source != "shop" || time > 5', False),
        ("data.tags.exists(tag, tag == 'old')", False),
    ],
)
def test_an_expression_sees_the_event(expression, expected):
    """Its attributes by their names, and what is in its data."""
    assert Expression(expression)(EVENT) is expected


@pytest.mark.parametrize(
    "expression", ["data.refund > 1", "data.amount > 'x'", "nobody > 1", "data.tags[5] == ''"]
)
def test_what_an_event_has_not_cannot_be_decided(expression):
    """A missing key, another type, an unknown name, an index beyond the end."""
    with pytest.raises(Undecided):
        Expression(expression)(EVENT)


@pytest.mark.parametrize("expression", ["1 / data.zero == 1", "data.amount", "type.matches('[')"])
def test_what_is_wrong_with_the_expression_itself_raises(expression):
    """A division by zero, an answer that is neither yes nor no, a pattern that is none."""
    with pytest.raises((ArithmeticError, TypeError, RuntimeError)):
        Expression(expression)(EVENT)


@pytest.mark.parametrize(
    ("expression", "line", "column"),
    [("data.amount >", 1, 14), ("data.a == 1 &&\n  && b", 2, 3), ("", 1, 1), ("(" * 100_000, 1, 1)],
)
def test_an_expression_that_does_not_compile_is_refused_with_its_place(expression, line, column):
    """However long and however deep it is."""
    with pytest.raises(FilterInvalid) as refused:
        Expression(expression)

    assert (refused.value.details["line"], refused.value.details["column"]) == (line, column)
    assert len(refused.value.message) < 400


def test_names_that_no_event_has_are_told():
    """So that whoever made a slip can see why nothing matches."""
    assert Expression("dta.amount > 1 && type == 'x'").unknown_names == ("dta",)


def test_the_library_for_expressions_is_loaded_with_the_first_of_them():
    """Dispatchers without expressions start without it."""
    program = """
import sys
from mas_core import EventDispatcher
EventDispatcher().subscribe(handler=print, filter={"data.a": 1})
assert "cel" not in sys.modules and "sqlalchemy" not in sys.modules
EventDispatcher().subscribe(handler=print, filter="data.a == 1")
assert "cel" in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
