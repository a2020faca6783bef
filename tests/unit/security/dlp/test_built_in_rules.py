"""Each built-in rule finds its kind, and not what only looks like it."""

import pytest
from support.dlp_samples import FOUND, NEAR_MISSES

from mas_core.security.dlp import Scanner, load_pack

SCANNER = Scanner(load_pack(), {"ip": "alert"})


def kinds(value):
    result = SCANNER.scan(value)
    assert result.action != "unscannable", result.reason
    return {finding.rule for finding in result.findings}


def cases(samples):
    return [(rule, value) for rule, values in samples.items() for value in values]


@pytest.mark.parametrize(("rule", "value"), cases(FOUND))
def test_sample_is_found(rule, value):
    """A text of the kind is found, bare and inside a larger payload."""
    assert rule in kinds(value)
    assert rule in kinds({"task": "store", "items": [{"id": 7, "data": value}]})


@pytest.mark.parametrize(("rule", "value"), cases(NEAR_MISSES))
def test_near_miss_is_not_found(rule, value):
    """A text that only resembles the kind is left alone by its rule."""
    assert rule not in kinds(value)
    assert rule not in kinds({"task": "store", "items": [{"id": 7, "data": value}]})


def test_every_rule_has_samples():
    """No built-in rule goes without texts that it must and must not find."""
    ids = {rule.id for rule in load_pack().rules}

    assert ids == FOUND.keys()
    assert ids == NEAR_MISSES.keys()


def test_default_actions():
    """Cards and credentials are blocked, identity and health data redacted, contact data only noted."""
    rules = load_pack().rules

    assert {rule.action for rule in rules if rule.category in {"pci", "secret"}} == {"block"}
    assert {rule.action for rule in rules if rule.category == "phi"} == {"redact"}
    assert {rule.id: rule.action for rule in rules if rule.category == "pii"} == {
        "ssn": "redact",
        "ssn_digits": "redact",
        "iban": "redact",
        "us_ein": "redact",
        "us_bank_routing": "redact",
        "passport": "redact",
        "email": "alert",
        "phone": "alert",
        "phone_national": "alert",
        "ip": "off",
    }
