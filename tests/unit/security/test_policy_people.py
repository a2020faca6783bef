"""Roles, marks, capabilities and switches of a policy document."""

from __future__ import annotations

import pytest

from mas_core.errors import Conflict, InvalidIdentifier, RoleExists, RoleNotFound, UsageError
from mas_core.model.policy import Mark, PolicyDocument, Rule
from mas_core.security.claims import Claims
from mas_core.security.policy_changes import add_rule
from mas_core.security.policy_people import (
    assign_role,
    bind_capability,
    create_role,
    set_feature,
    set_mark,
    unassign_role,
)

EMPTY = PolicyDocument()


def test_members_come_and_go():
    """Each once, in the order of coming; the rest of the policy stays."""
    document = create_role(EMPTY, "team", ["a"])
    document = assign_role(document, "team", ["b", "a"])
    assert document.roles == {"team": ("a", "b")}
    assert assign_role(document, "team", ["a"]) is document

    document = unassign_role(document, "team", ["a"])

    assert document.roles == {"team": ("b",)}
    assert document.change == "roles: team"


def test_roles_that_are_or_are_not_there():
    """A second of the same name, a missing one and a stranger are errors."""
    document = create_role(EMPTY, "team")

    with pytest.raises(RoleExists):
        create_role(document, "team")
    with pytest.raises(RoleNotFound):
        assign_role(document, "other", ["a"])
    with pytest.raises(Conflict, match="b has not the role"):
        unassign_role(document, "team", ["b"])
    with pytest.raises(InvalidIdentifier):
        create_role(document, "Team*")
    with pytest.raises(InvalidIdentifier):
        assign_role(document, "team", ["*"])


def test_marks_are_set_and_taken_back():
    """Saying the same again changes nothing."""
    document = set_mark(EMPTY, "blocked", "mallory", Mark("leaked", 5))
    assert document.change == "mallory is blocked: leaked"
    assert set_mark(document, "blocked", "mallory", Mark("leaked", 5, by="me")) is document

    freed = set_mark(document, "blocked", "mallory", None)

    assert freed.blocked == {}
    with pytest.raises(Conflict, match="not trusted"):
        set_mark(freed, "trusted", "mallory", None)
    with pytest.raises(InvalidIdentifier):
        set_mark(EMPTY, "trusted", "*", Mark())


@pytest.mark.parametrize("name", ["rbac", "rate_limit", "dlp", "message_signing"])
def test_p12_a_switch_is_set_by_hand_and_left_to_the_files_again(name):
    """Each of them, on and off."""
    off = set_feature(EMPTY, name, value=False)
    on = set_feature(off, name, value=True)

    assert getattr(off.features, name) is False
    assert getattr(on.features, name) is True
    assert on.change == f"{name}: on"
    assert set_feature(on, name, value=True) is on
    assert set_feature(on, name, value=None).feature_overrides == {}
    with pytest.raises(UsageError, match="no switch"):
        set_feature(EMPTY, "audit", value=False)


def test_s38_a_bound_capability_is_for_those_who_are_named():
    """By name, by role or for all; what no pattern names is free; of several patterns one is enough."""
    document = create_role(EMPTY, "doctors", ["alice"])
    document = bind_capability(document, "diagnosis.*", ["role:doctors"])
    document = bind_capability(document, "*.public", ["*"])
    document = bind_capability(document, "root", [])
    claims = Claims(document)

    assert claims.refused("alice", ["diagnosis.eye", "math"]) == ""
    assert claims.refused("bob", ["math", "diagnosis.eye"]) == "diagnosis.eye"
    assert claims.refused("bob", ["diagnosis.public"]) == ""
    assert claims.refused("alice", ["root"]) == "root"
    with pytest.raises(RoleNotFound):
        bind_capability(document, "x", ["role:none"])
    with pytest.raises(Conflict):
        bind_capability(document, "y", None)


def test_a_role_that_a_rule_names_cannot_go_unnoticed():
    """Its rules would match nobody."""
    document = add_rule(create_role(EMPTY, "team"), Rule("", "allow", "role:team", "a"))

    assert document.rules[0].sender == "role:team"
