"""What a gateway works out of a policy is worked out once, and anew when it has to be."""

from __future__ import annotations

import msgspec
import pytest

from mas_core.errors import ConfigurationError
from mas_core.gateway.policy_compiler import PolicyCompiler
from mas_core.model.policy import Features, PolicyDocument, Route, Rule
from mas_core.security.dlp import load_pack


@pytest.fixture(scope="module")
def pack():
    """The rules that come with the product."""
    return load_pack(None)


@pytest.fixture
def compiler(pack):
    """A compiler that has seen nothing."""
    return PolicyCompiler(pack)


def test_the_same_document_is_compiled_once(compiler):
    """The partitions of a gateway share the result."""
    first = compiler.compile(PolicyDocument(revision=1))

    assert compiler.compile(PolicyDocument(revision=1)) is first
    assert compiler.compile(PolicyDocument(revision=2)) is not first


def test_a_change_of_rules_leaves_the_scanner(compiler):
    """Access is compiled anew, the scan is not."""
    before = compiler.compile(PolicyDocument(revision=1))
    after = compiler.compile(PolicyDocument(2, rules=(Rule("r1", "allow", "alice", "bob"),)))

    assert after.scanner is before.scanner is not None
    assert not before.access.decide("alice", "bob", "x", "send", 0).allowed
    assert after.access.decide("alice", "bob", "x", "send", 0).allowed


@pytest.mark.parametrize(
    "change", [{"dlp_actions": {"card": "alert"}}, {"routes": (Route("alice", dlp={"card": "alert"}),)}]
)
def test_a_change_of_the_scan_makes_another_scanner(compiler, change):
    """What is blocked before it is only reported after it."""
    plain = PolicyDocument(revision=1)
    before = compiler.compile(plain)

    after = compiler.compile(msgspec.structs.replace(plain, revision=2, **change))

    assert after.scanner is not before.scanner


def test_without_the_scan_there_is_no_scanner(compiler):
    """And with it again, one."""
    off = PolicyDocument(revision=1, features=Features(dlp=False))

    assert compiler.compile(off).scanner is None
    assert compiler.compile(PolicyDocument(revision=2)).scanner is not None


def test_a_policy_that_cannot_be_compiled_changes_nothing(compiler):
    """The last good one can be asked for again."""
    good = compiler.compile(PolicyDocument(revision=1))

    with pytest.raises(ConfigurationError):
        compiler.compile(PolicyDocument(revision=2, rules=(Rule("r1", "perhaps", "alice", "bob"),)))

    assert compiler.compile(PolicyDocument(revision=1)) is good


@pytest.mark.parametrize(
    "change",
    [
        {"dlp_actions": {"crad": "block"}},
        {"dlp_actions": {"card": "encrypt:nobody"}},
        {"routes": (Route("alice", dlp={"crad": "block"}),)},
    ],
)
def test_a_scan_that_cannot_be_made_holds_up_nothing_else(compiler, change):
    """Rules and blocks of the new document count, payloads are scanned as before, and it is told why."""
    before = compiler.compile(PolicyDocument(revision=1, rules=(Rule("r1", "allow", "alice", "bob"),)))

    after = compiler.compile(PolicyDocument(2, rules=(), **change))

    assert before.access.decide("alice", "bob", "x", "send", 0).allowed
    assert not after.access.decide("alice", "bob", "x", "send", 0).allowed
    assert after.scanner is before.scanner is not None
    assert before.problem == ""
    assert after.problem


def test_a_gateway_that_has_scanned_by_nothing_takes_no_broken_scan(compiler):
    """There is nothing to fall back to, and nothing is let through unscanned."""
    with pytest.raises(ConfigurationError):
        compiler.compile(PolicyDocument(1, dlp_actions={"crad": "block"}))
