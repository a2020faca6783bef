"""The many ways to write the same secret are one secret."""

import json

import pytest
from support.dlp_forms import CARD, FORMS, KEY, SECRETS, encoded

from mas_core.security.dlp import Scanner, load_pack

SCANNER = Scanner(load_pack())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SECRETS)
def test_form_is_found(kind, form):
    """Every form of a secret is found as the kind it is."""
    result = SCANNER.scan({"note": FORMS[form](SECRETS[kind])})

    assert kind in {finding.rule for finding in result.findings}, result


@pytest.mark.parametrize(
    "value",
    [
        int(CARD),
        float(CARD),
        {"n": int(CARD)},
        ["4111", "1111", "1111", "1111"],
        [4111, 1111, 1111, 1111],
        ["41111", "11111", "111111"],
        list(map(int, CARD)),
        list(CARD),
        {"a": "4111", "b": "1111", "c": "1111", "d": "1111"},
        {"a": 4111, "b": 1111, "c": 1111, "d": 1111},
        {"a": "41111111", "b": "11111111"},
        json.dumps(["4111", "1111", "1111", "1111"]),
        "4111 1111 1111\u00a01111",
        "4111\u20131111\u20131111\u20131111",
    ],
    ids=repr,
)
def test_card_in_parts_or_as_a_number_is_found(value):
    """A card number is found as a number, in a list, over neighbouring fields."""
    assert SCANNER.scan(value).action == "block"


@pytest.mark.parametrize(
    "value",
    [
        ["123", "45", "6789"],
        {"a": "123", "b": "45", "c": "6789"},
        {"ssn": 123456789},
        {"ssn": encoded("123456789")},
    ],
    ids=repr,
)
def test_ssn_in_parts_or_as_a_number_is_redacted(value):
    """A social security number is found in parts, and without its dashes where a key tells of it."""
    assert SCANNER.scan(value).action == "redact"


@pytest.mark.parametrize("cut", [2, 4, 10, 19])
def test_token_cut_over_two_fields_is_found(cut):
    """A credential is found wherever it was cut in two."""
    parts = [KEY[:cut], KEY[cut:]]

    assert SCANNER.scan(parts).action == "block"
    assert SCANNER.scan({"a": parts[0], "b": parts[1]}).action == "block"


def test_digits_of_unrelated_fields_are_no_card():
    """Numbers that only stand beside each other are not put together to a card."""
    result = SCANNER.scan({"house": "4", "zip": "11111", "phone": "1111111111", "n": 411, "m": 1111111111111})

    assert "card" not in {finding.rule for finding in result.findings}
