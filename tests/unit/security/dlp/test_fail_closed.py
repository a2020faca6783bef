"""Whatever cannot be looked through does not pass."""

import base64
import gzip
import json

import pytest

from mas_core.errors import ConfigurationError
from mas_core.security.dlp import Scanner, load_pack
from mas_core.security.dlp.matcher import Matcher

SCANNER = Scanner(load_pack())


def nested(depth, inner):
    value = inner
    for _ in range(depth):
        value = [value]
    return value


def encoded(text, times):
    for _ in range(times):
        text = base64.b64encode(text.encode()).decode()
    return text


def test_depth_limit():
    """64 levels are walked, 65 are not."""
    assert SCANNER.scan(nested(64, "4111111111111111")).action == "block"
    assert SCANNER.scan(nested(64, "fine")).action == "pass"
    assert SCANNER.scan(nested(65, "fine")).action == "unscannable"
    assert SCANNER.scan({"a": json.dumps(nested(65, "fine"))}).action == "unscannable"
    assert SCANNER.scan({"a": "[" * 100_000}).action == "unscannable"


def test_s21_too_many_encodings_in_each_other():
    """Text below more than four encodings is not looked into, so it does not pass."""
    assert SCANNER.scan(encoded("nothing to see here at all", 4)).action == "pass"
    assert SCANNER.scan(encoded("nothing to see here at all", 5)).action == "unscannable"


def test_s21_decompression_bomb():
    """What unpacks to much more than it was is not unpacked to the end."""
    bomb = base64.b64encode(gzip.compress(b"x" * 50_000_000)).decode()

    result = SCANNER.scan({"data": bomb})

    assert result.action == "unscannable"
    assert (
        result.reason == "the payload cannot be looked through: decoded content is more than 4 times as large"
    )


@pytest.mark.parametrize(
    "value",
    [b"4111111111111111", {1: "a"}, {"a": {2, 3}}, object(), 10**5000, "lone \ud800 surrogate", ("a",)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_json(value):
    """A value that JSON cannot hold is refused and its text not repeated."""
    result = SCANNER.scan(value)

    assert result.action == "unscannable"
    assert result.findings == ()
    assert "4111" not in result.reason


def test_an_exception_inside_does_not_let_pass(monkeypatch):
    """An error of the scanner refuses the payload and tells only the kind of error."""
    scanner = Scanner(load_pack())
    secret = "4111111111111111"

    def fail(*_):
        raise ValueError(f"could not read {secret}")

    monkeypatch.setattr(Matcher, "match", fail)

    result = scanner.scan({"a": secret})

    assert result.action == "unscannable"
    assert result.reason == "the scan failed with ValueError"


def test_an_automaton_without_answer_does_not_let_pass(monkeypatch):
    """No answer from the engine is not taken for nothing found."""
    scanner = Scanner(load_pack())

    class Silent:
        def Match(self, text):  # noqa: N802 - the name of the engine
            return ()

    monkeypatch.setattr(scanner._matcher, "_automaton", Silent())

    assert scanner.scan({"a": "fine"}).reason == "the scan failed with EngineError"


@pytest.mark.parametrize(
    "unit", ["4", "4 ", "4111 ", "a@", "1.", "DE12 ", "eyJ", "://a:", "cvv 12 ", "%41", "[", "TVRJ"]
)
def test_s22_hostile_text_is_done_with_soon(unit):
    """A megabyte made to look nearly like something ends in a decision."""
    result = SCANNER.scan({"text": unit * (1_000_000 // len(unit))})

    assert result.action in {"pass", "alert", "unscannable"}


def test_more_places_than_are_looked_at():
    """A text with more candidates than the budget has is refused."""
    result = SCANNER.scan({"text": "4111 1111 1111 1112 " * 30_000})

    assert result.reason == "the payload cannot be looked through: more than 10000 places to look at"


@pytest.mark.parametrize(
    "actions", [{"card": "ignore"}, {"cards": "block"}, {"": "off"}, {"pii": ""}], ids=repr
)
def test_wrong_override(actions):
    """An override of nothing, or to nothing, is an error and not silently without effect."""
    with pytest.raises(ConfigurationError):
        Scanner(load_pack(), actions)


def test_override_by_category_and_rule():
    """A rule's own override wins over that of its category."""
    scanner = Scanner(load_pack(), {"pii": "off", "ssn": "block"})

    assert scanner.scan("jane@example.org").action == "pass"
    assert scanner.scan("123-45-6789").action == "block"
