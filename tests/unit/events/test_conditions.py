"""Conditions on the fields of events."""

import pytest

from mas_core.errors import FilterInvalid
from mas_core.events.selection import select
from mas_core.model.event import Event

ORDER = {"region": "eu", "amount": 120, "rush": True, "items": [1], "price": {"net": 1.5}, "note": None}


@pytest.mark.parametrize(
    "conditions",
    [
        {"data.region": "eu"},
        {"data.region": ["eu", "us"]},
        {"data.amount": 120.0},
        {"data.amount": {"ge": 120, "lt": 121}},
        {"data.price.net": {"gt": 1}},
        {"data.rush": True},
        {"data.note": None},
        {"data.region": {"ne": "us"}, "data.rush": {"ne": False}},
        {"data.refund": {"exists": False}, "data.note": {"exists": True}},
        {"data.region": {"gt": "a", "le": "eu"}},
        {"type": "order.created", "source": ["shop"], "time": {"le": 5}, "extensions.subject": "a"},
        {},
    ],
)
def test_all_conditions_have_to_hold(conditions):
    """Equality, membership, order and existence, each by itself and together."""
    assert select(filter=conditions).matches(_order())
    assert not select(filter={**conditions, "data.rush": False}).matches(_order())


@pytest.mark.parametrize(
    "conditions",
    [
        {"data.rush": 1},
        {"data.amount": True},
        {"data.amount": "120"},
        {"data.amount": {"gt": "1"}},
        {"data.rush": {"ge": 0}},
        {"data.refund": {"ne": 1}},
        {"data.refund": None},
        {"data.region.x": {"exists": True}},
        {"data.items": 1},
        {"data.note": {"lt": 5}},
        {"data": "eu"},
    ],
)
def test_another_type_or_a_missing_field_is_no_match(conditions):
    """True is not 1, a text is not a number, and what is not there differs from nothing."""
    assert not select(filter=conditions).matches(_order())


@pytest.mark.parametrize(
    ("conditions", "named"),
    [
        ({"amount": 1}, "amount"),
        ({"data..x": 1}, "data..x"),
        ({"type.x": 1}, "type.x"),
        ({"data.x": {"like": "a"}}, "like"),
        ({"data.x": {}}, "data.x"),
        ({"data.x": {"lt": None}}, "data.x"),
        ({"data.x": {"exists": 1}}, "data.x"),
        ({"data.x": [[1]]}, "data.x"),
        ({"data.x": {"in": 5}}, "data.x"),
        ({f"data.x{number}": 1 for number in range(65)}, "64"),
        (5, "mapping"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(conditions, named):
    """The error names what is wrong."""
    with pytest.raises(FilterInvalid, match=named):
        select(filter=conditions)


def _order():
    return Event("order.created", "shop", ORDER, time=5, extensions={"subject": "a"})
