"""Routing rules in the policy document."""

import pytest

from mas_core.errors import RoleNotFound, UsageError
from mas_core.model.policy import PolicyDocument
from mas_core.model.routing import RoutingRule
from mas_core.security.routing import replace_file_routing, set_routing


def test_routing_of_files_replaces_that_of_files_and_what_was_given_by_command_stays():
    """A command wins over a file that says something else under the same name."""
    before = PolicyDocument(
        routing={
            "old": RoutingRule(("a",), source="file:policy.yaml"),
            "own": RoutingRule(("b",), source="cli"),
        },
    )
    loaded = {name: RoutingRule(("c",), source="file:policy.yaml") for name in ("own", "new")}
    document = replace_file_routing(before, loaded)

    assert {name: rule.to for name, rule in document.routing.items()} == {"new": ("c",), "own": ("b",)}
    assert replace_file_routing(document, loaded) is document
    with pytest.raises(RoleNotFound):
        replace_file_routing(document, {"lost": RoutingRule(("role:none",))})


@pytest.mark.parametrize(
    "rule",
    [
        RoutingRule(()),
        RoutingRule(("*",)),
        RoutingRule(("a",), type="[x"),
        RoutingRule(("a",), strategy="fastest"),
        RoutingRule(("a",), strategy="best_match"),
        RoutingRule(("a",), weights={"a": 1}),
        RoutingRule(("a",), strategy="weighted", weights={"a": -1}),
        RoutingRule(("a",), key="/x"),
        RoutingRule(("a",), strategy="sticky", key="x"),
    ],
)
def test_routing_that_makes_no_sense_does_not_come_into_the_policy(rule):
    """Each mistake is said."""
    with pytest.raises(UsageError):
        set_routing(PolicyDocument(), "name", rule)
