"""Checks judge what was looked at, and bounds that are given."""

from dataclasses import replace

import pytest
from support.health_samples import EXPECTED, NOW, PARTITION, SERVER, WELL, agent

from mas_core.errors import NotFound, SecretUnavailable, UsageError
from mas_core.ops.checks.finding import Bounds
from mas_core.ops.checks.look import Look
from mas_core.ops.checks.table import bounded, carry_out, chosen, diagnosis
from mas_core.ops.health.findings import judge
from mas_core.store.server_setup import ServerSetup, ServerUser

DAY = 86_400_000
GATEWAYS = ServerUser("default", needs_password=True, can_write=True, is_agent=False)
SETUP = ServerSetup(0.001, 0.0, "default", (GATEWAYS,), (), 0, 10)
LOOK = Look(None, None, (), (SERVER,), SETUP, WELL, EXPECTED, judge(WELL, EXPECTED))


def result(name, seen=LOOK):
    """What one check comes to."""
    (found,) = carry_out(chosen([name]), seen)
    return found


def looking(**fields):
    """The look with another observation."""
    seen = replace(WELL, **fields)
    return replace(LOOK, seen=seen, health=judge(seen, EXPECTED))


def test_a_look_at_what_is_well_finds_nothing():
    """No check of server and system has anything to say."""
    found = diagnosis([check for check in chosen(()) if check.needs != "machine"], LOOK)

    assert [item for item in found if item.status != "ok"] == []


@pytest.mark.parametrize(
    ("name", "seen", "status", "words"),
    [
        ("server", replace(LOOK, setup=replace(SETUP, round_trip_s=0.3)), "warn", "300.0 ms"),
        ("server", replace(LOOK, servers=(replace(SERVER, compatible=(6, 0)),)), "red", "needs Redis 6.2"),
        ("clock", replace(LOOK, setup=replace(SETUP, clock_ahead_s=-7.0)), "red", "7.0 s behind ours"),
        ("clock", replace(LOOK, setup=replace(SETUP, clock_ahead_s=0.6)), "warn", "ahead of ours"),
        ("memory", replace(LOOK, servers=(replace(SERVER, memory_limit=100),)), "warn", "90 % of its limit"),
        ("lag", looking(partitions=(replace(PARTITION, waiting=1, oldest=NOW - 90_000),)), "warn", "90.0 s"),
        ("lag", looking(agents=(agent(backlog=1, oldest=700),)), "red", "700.0 s"),
        (
            "backlog",
            looking(agents=(agent(backlog=2000, moved=1, oldest=1),)),
            "warn",
            "2000 of them for worker",
        ),
        ("gateway", looking(gateways=()), "red", "none is running"),
        ("audit", looking(notaries=()), "red", "the audit is not signed"),
        ("policy", looking(policy_problem="the policy was changed"), "red", "was changed"),
        ("persistence", looking(servers=(replace(SERVER, takes_writes=False),)), "red", "append-only file"),
        ("dead-letters", replace(LOOK, dead_letters=3), "warn", "3 were given up"),
        ("tokens", replace(LOOK, token_expiries=((NOW + 3 * DAY, "a"),)), "warn", "the token of a"),
        ("tokens", replace(LOOK, token_expiries=((NOW + DAY // 2, "a"),)), "red", "0.5 days"),
    ],
)
def test_each_check_sees_its_trouble(name, seen, status, words):
    """With how bad it is, what it is, and what to type."""
    found = result(name, seen)

    assert (found.status, words in found.worst.message) == (status, True), found
    assert found.worst.fix


def test_nobody_but_the_gateway_and_the_operator_may_write_inboxes_and_audit():
    """Whoever else may is wrong, with what to do about each."""
    gateway = ServerUser("mas-gateway", needs_password=True, can_write=True, is_agent=False, is_trusted=True)
    other = replace(gateway, name="other", is_trusted=False)
    rogue = replace(other, name="mas-agent-x", is_agent=True)
    default = replace(other, name="default")

    fixes = []
    for user, status in ((gateway, "ok"), (other, "red"), (rogue, "red"), (default, "red")):
        found = result("users", replace(LOOK, setup=replace(SETUP, me="mas-operator", users=(gateway, user))))
        assert found.status == status
        fixes += [item.fix for item in found.findings if item.fix]
    assert fixes[-1] == "mas redis-users apply --default off"
    assert "mas-agent-x" in fixes[-2]


def test_bounds_replace_those_of_the_table():
    """The other one gives way where it would make no sense; a check without a number takes none."""
    (lag,) = chosen(["lag"])
    (users,) = chosen(["users"])
    (tokens,) = chosen(["tokens"])

    assert bounded(lag, 30, 300).bounds == Bounds(30, 300)
    assert bounded(lag, None, 5).bounds == Bounds(5, 5)
    assert bounded(lag, 900, None).bounds == Bounds(900, 900)
    assert bounded(tokens, 30, 14).bounds == Bounds(30, 14, is_floor=True)
    for check, warn, crit in ((lag, 5, 1), (tokens, 1, 5), (users, 1, 2)):
        with pytest.raises(UsageError):
            bounded(check, warn, crit)


def test_names_are_known_by_their_aliases_and_others_are_not_found():
    """In the order of the table; a near miss is suggested."""
    assert [check.name for check in chosen(["dlq", "redis", "gateways"])] == [
        "server",
        "gateway",
        "dead-letters",
    ]
    with pytest.raises(NotFound) as raised:
        chosen(["backlogs"])
    assert raised.value.hint[0] == "mas check backlog"


def test_what_needs_keys_is_told_as_not_checked_without_them():
    """The server is checked all the same."""
    trouble = SecretUnavailable("no keys", hint="mas context add NAME --keys-dir DIR")
    seen = Look(servers=(SERVER,), setup=SETUP, trouble=trouble)

    found = {item.check: item for item in diagnosis(chosen(["memory", "gateway", "agents"]), seen)}

    assert found["memory"].status == "ok"
    assert (found["system"].status, found["system"].message) == ("warn", "no keys")
    assert found["not checked"].message == "gateway, agents"
