"""What the routes of a policy say about a message."""

import pytest

from mas_core.errors import ConfigurationError, RoleNotFound, SpecInvalid
from mas_core.model.policy import PolicyDocument, Route
from mas_core.security.policy_changes import replace_file_routes
from mas_core.security.routes import NO_SETTINGS, Routes
from mas_core.settings.policy_file import load_policy_file

ROLES = {"clerks": ("billing", "intake")}


def routes(*entries):
    return Routes(PolicyDocument(roles=ROLES, routes=tuple(entries)))


def test_no_route_says_nothing():
    """Without a route that speaks of a message nothing is different for it."""
    assert Routes(PolicyDocument()).find("a", "b", "x") == NO_SETTINGS
    assert routes(Route("a", "b", e2e="require")).find("b", "a", "x") == NO_SETTINGS


def test_the_most_specific_route_wins():
    """An agent is more specific than a role, a role than everybody, a spelled out type than a pattern."""
    found = routes(
        Route("billing", "ledger", "invoice.create", dlp={"card": "redact"}),
        Route("*", "*", e2e="allow", dlp={"pii": "alert"}),
        Route("billing", "ledger", "invoice.*", e2e="forbid", dlp={"card": "block"}),
        Route("role:clerks", "*", e2e="require"),
    )

    assert found.find("billing", "ledger", "invoice.create").e2e == "forbid"
    assert found.find("billing", "ledger", "invoice.create").dlp == (
        {"card": "redact"},
        {"card": "block"},
        {"pii": "alert"},
    )
    assert found.find("intake", "ledger", "invoice.create").e2e == "require"
    assert found.find("other", "ledger", "invoice.create").e2e == "allow"


def test_between_equals_the_later_wins():
    """Two routes for the same messages: the document's order decides."""
    assert routes(Route("a", "b", e2e="forbid"), Route("a", "b", e2e="require")).find("a", "b", "x").e2e == (
        "require"
    )


def test_answers_are_remembered():
    """A second question about the same messages gets the very same answer."""
    found = routes(Route("a", "b", e2e="forbid"))

    assert found.find("a", "b", "x") is found.find("a", "b", "x")


@pytest.mark.parametrize(
    "route",
    [Route("A", "b"), Route("a", "role:*"), Route("a", "b", "x y"), Route("a", "b", e2e="maybe")],
    ids=repr,
)
def test_a_route_without_meaning_is_refused(route):
    """A stored policy whose routes make no sense is not taken."""
    with pytest.raises(ConfigurationError):
        routes(route)


def test_routes_of_a_file(tmp_path):
    """policy.yaml has routes in the grammar of rules; loading them again changes nothing."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        "roles: {clerks: [billing]}\nroutes:\n"
        "  - route: role:clerks <-> ledger\n    types: [invoice.*]\n    e2e: forbid\n"
        "    dlp: {card: 'encrypt:finance', email: off}\n"
    )

    loaded = load_policy_file(path).routes

    dlp = {"card": "encrypt:finance", "email": "off"}
    assert loaded == (
        Route("role:clerks", "ledger", "invoice.*", "forbid", dlp, "file:policy.yaml"),
        Route("ledger", "role:clerks", "invoice.*", "forbid", dlp, "file:policy.yaml"),
    )
    document = replace_file_routes(PolicyDocument(roles=ROLES, routes=(Route("a", "b"),)), loaded)
    assert document.routes == (Route("a", "b"), *loaded)
    assert replace_file_routes(document, loaded) is document
    with pytest.raises(RoleNotFound, match="clerks"):
        replace_file_routes(PolicyDocument(), loaded)


@pytest.mark.parametrize(
    "entry", ["{route: a}", "{route: a -> b, e2e: maybe}", "{route: a -> b, dlp: {card: eat}}"]
)
def test_a_wrong_route_names_its_line(tmp_path, entry):
    """A route with a mistake is refused with its place."""
    path = tmp_path / "policy.yaml"
    path.write_text(f"routes:\n  - {entry}\n")

    with pytest.raises(SpecInvalid) as caught:
        load_policy_file(path)

    assert caught.value.line == 2
