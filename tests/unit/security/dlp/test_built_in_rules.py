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

    actions = {rule.id: rule.action for rule in rules}
    redacted = {
        "ssn",
        "iban",
        "passport",
        "us_ein",
        "br_cpf",
        "uk_nino",
        "medical_record",
        "npi",
        "card_expiry",
    }

    assert {actions[rule.id] for rule in rules if rule.category == "secret"} == {"block"}
    assert {actions["card"], actions["cvv"]} == {"block"}
    assert {actions[rule] for rule in redacted} == {"redact"}
    assert {rule.id for rule in rules if rule.action == "alert"} == {
        "email",
        "phone",
        "phone_national",
        "phone_region",
        "postal_address",
        "icd10",
        "ndc",
    }
    assert {rule.id for rule in rules if rule.action == "off"} == {"ip"}


def test_the_pack_knows_the_providers():
    """Keys and tokens of more than 60 providers have a rule of their own."""
    assert sum(rule.category == "secret" for rule in load_pack().rules) >= 85
