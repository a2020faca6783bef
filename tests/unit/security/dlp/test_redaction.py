"""What is redacted is gone, and only that."""

import json
import re

import pytest
from support.dlp_forms import FORMS, SECRETS

from mas_core.model.decision import Finding
from mas_core.security.dlp import Scanner, load_pack

REDACT_ALL = dict.fromkeys(["pii", "phi", "pci", "secret"], "redact")
SCANNER = Scanner(load_pack(), REDACT_ALL)


def digit_runs(text):
    """All runs of five digits in a text without its separators."""
    digits = re.sub(r"[^0-9]", "", text)
    return {digits[i : i + 5] for i in range(len(digits) - 4)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["card", "ssn"])
def test_no_run_of_five_digits_is_left(kind, form):
    """After redaction neither the value nor the findings hold five digits of the secret in a row."""
    secret = SECRETS[kind]

    result = SCANNER.scan({"note": FORMS[form](secret), "other": "kept"})

    assert result.action == "redact"
    assert result.value["other"] == "kept"
    left = json.dumps([result.value, [finding.path for finding in result.findings], result.reason])
    assert not digit_runs(left) & digit_runs(secret)
    assert secret not in left
    assert SCANNER.scan(result.value).action == "pass"


def test_only_the_match_is_replaced_and_the_input_is_untouched():
    """The text around a match stays, the tree that was given stays as it was."""
    value = {"a": ["call 123-45-6789 or 987-65-4320 now", 5], "b": True}

    result = SCANNER.scan(value)

    assert result.value == {"a": ["call [REDACTED:ssn] or 987-65-4320 now", 5], "b": True}
    assert value["a"][0] == "call 123-45-6789 or 987-65-4320 now"


def test_offsets_are_those_of_the_original_value():
    """A finding's offsets count the characters as they stand in the payload."""
    text = "\u200b\u00e9 no.\u200b 1\u200b23\u201345\u20136789 end"

    result = SCANNER.scan({"a/b": {"~c": text}})

    finding = result.findings[0]
    assert finding == Finding(
        rule="ssn", category="pii", path="/a~1b/~0c", start=8, end=20, action="redact", severity="high"
    )
    assert text[finding.start : finding.end] == "1\u200b23\u201345\u20136789"
    assert result.value == {"a/b": {"~c": "\u200b\u00e9 no.\u200b [REDACTED:ssn] end"}}


def test_key_is_renamed_and_its_path_masked():
    """A secret in a key is replaced there and in every path through it."""
    result = SCANNER.scan({"123-45-6789": {"iban": "DE89370400440532013000"}})

    assert result.value == {"[REDACTED:ssn]": {"iban": "[REDACTED:iban]"}}
    assert {finding.path for finding in result.findings} == {"/[REDACTED:ssn]#key", "/[REDACTED:ssn]/iban"}


def test_keys_that_become_equal_keep_their_members():
    """Two keys that are both replaced do not swallow each other."""
    result = SCANNER.scan({"123-45-6789": 1, "123-45-6788": 2})

    assert result.value == {"[REDACTED:ssn]": 1, "[REDACTED:ssn] 2": 2}


def test_number_becomes_a_marker():
    """A number that is a secret is replaced by a string."""
    assert SCANNER.scan({"ssn": 123456789}).value == {"ssn": "[REDACTED:ssn_digits]"}


def test_parts_are_all_replaced():
    """Of a secret in parts no part stays."""
    assert SCANNER.scan(["123", "45", "6789"]).value == ["[REDACTED:ssn]"] * 3


def test_percent_coded_text_keeps_what_stands_around():
    """Only the coded characters of the secret are replaced, not the whole text."""
    result = SCANNER.scan("see https://x.example/?q=a%20b&s=123%2D45%2D6789&t=1")

    assert result.value == "see https://x.example/?q=a%20b&s=[REDACTED:ssn]&t=1"


def test_alert_and_pass_give_back_the_same_object():
    """What is not changed is not copied."""
    clean, noted = {"a": 1}, {"a": "jane@example.org"}
    scanner = Scanner(load_pack())

    assert scanner.scan(clean).value is clean
    assert scanner.scan(noted).value is noted
    assert scanner.scan(noted).action == "alert"


def test_strongest_action_wins():
    """One finding to block outweighs others to redact or note."""
    scanner = Scanner(load_pack())

    result = scanner.scan({"mail": "jane@example.org", "ssn": "123-45-6789", "card": "4111111111111111"})

    assert result.action == "block"
    assert result.value["ssn"] == "123-45-6789"
    assert {finding.rule: finding.action for finding in result.findings} == {
        "email": "alert",
        "ssn": "redact",
        "card": "block",
    }


def test_what_is_dirty_after_redaction_is_blocked():
    """When what is left makes a secret, the payload does not pass although all that was found is gone."""
    result = Scanner(load_pack()).scan({"ssn": [4111, 1111, 1111, 1111, 123456789]})

    assert result.action == "block"
    assert {finding.rule for finding in result.findings} == {"ssn_digits"}
    assert result.reason == "the payload holds ssn_digits; redacting it still leaves card"
