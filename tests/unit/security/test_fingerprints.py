"""Keyed fingerprints of leaves: what is equal is equal, and nothing else can be told without the key."""

from __future__ import annotations

import pytest

from mas_core.security.fingerprints import CUT, MAX_FIELDS, at_pointer, field_fingerprints, leaves
from mas_core.security.gateway_keys import GatewayKeys

KEYS = GatewayKeys.generate()


def test_each_leaf_has_one_by_its_pointer():
    """Objects and lists are walked, keys are escaped as RFC 6901 says, empty ones are leaves."""
    value = {"a/b": {"~": 1}, "list": [True, None, {"x": "y"}], "empty": {}, "none": []}
    assert dict(leaves(value)) == {
        "/a~1b/~0": 1, "/list/0": True, "/list/1": None, "/list/2/x": "y", "/empty": {}, "/none": [],
    }  # fmt: skip
    found = field_fingerprints(KEYS, "m1", value)
    assert list(found) == [path for path, _ in leaves(value)]
    assert all(at_pointer(value, path) == leaf for path, leaf in leaves(value))


def test_equal_numbers_are_equal_and_kinds_are_told_apart():
    """1.0 is 1; the text "1", true and 1 are three things."""
    found = field_fingerprints(KEYS, "m1", {"n": 1})["/n"]
    assert field_fingerprints(KEYS, "m1", {"n": 1.0})["/n"] == found
    others = [field_fingerprints(KEYS, "m1", {"n": item})["/n"] for item in ("1", True, 1.5, None, "")]
    assert len({found, *others}) == 6


def test_s32_nothing_can_be_guessed_without_the_key():
    """The same value in another message, at another place or under another key gives another fingerprint (S32)."""
    value = {"ssn": "078-05-1120", "copy": "078-05-1120"}
    here = field_fingerprints(KEYS, "m1", value)
    elsewhere = field_fingerprints(KEYS, "m2", value)
    other = field_fingerprints(GatewayKeys.generate(), "m1", value)
    found = [*here.values(), *elsewhere.values(), *other.values()]
    assert len(set(found)) == len(found) == 6
    assert {len(item) for item in found} == {32}


def test_of_very_many_leaves_the_first_have_one():
    """What is cut is said."""
    found = field_fingerprints(KEYS, "m1", list(range(MAX_FIELDS + 5)))
    assert len(found) == MAX_FIELDS + 1
    assert found[CUT] == str(MAX_FIELDS + 5)


@pytest.mark.parametrize("pointer", ["/x", "/a/b", "/list/9", "/list/-1", "/list/x", "/" + "9" * 30])
def test_a_pointer_that_leads_nowhere_gives_nothing(pointer):
    """Whatever it is made of."""
    assert at_pointer({"a": 1, "list": [1]}, pointer) is None


def test_the_name_of_a_key_tells_keys_apart_and_nothing_of_them():
    """8 hex digits, the same each time it is loaded."""
    secret = b"\x01" * 32
    one, again = GatewayKeys.from_secret(secret), GatewayKeys.from_secret(secret)
    assert one.fingerprint_key_id == again.fingerprint_key_id != KEYS.fingerprint_key_id
    assert len(one.fingerprint_key_id) == 8
    assert one.fingerprint_key_id not in one.fingerprint_key.hex()
