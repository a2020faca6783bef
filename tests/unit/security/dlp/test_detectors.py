"""Detectors beside the rules: what they find counts like what rules find, and their failures refuse."""

import importlib.util

import pytest
from support.detector_double import Names

from mas_core.errors import ConfigurationError
from mas_core.model.json_text import encode_json
from mas_core.security.dlp import Scanner, load_pack
from mas_core.security.dlp.detectors import DetectorProcess, open_detectors
from mas_core.security.dlp.presidio import Presidio

FACTORIES = {"double": "support.detector_double:Names", "presidio": "mas_core.security.dlp.presidio:Presidio"}
HAS_PRESIDIO = importlib.util.find_spec("presidio_analyzer") is not None
needs_presidio = pytest.mark.skipif(not HAS_PRESIDIO, reason="the extra [presidio] is not installed")


@pytest.fixture(params=["double", pytest.param("presidio", marks=needs_presidio)])
def detector(request):
    """The contract holds for each detector, here in this process."""
    return Names() if request.param == "double" else Presidio()


@pytest.fixture
def process(monkeypatch):
    """The double in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", "tests")
    opened = DetectorProcess(FACTORIES["double"], timeout_s=2)
    yield opened
    opened.close()


def test_contract(detector):
    """For each text, in order, kinds that were announced, at places that are there."""
    texts = ["my name is Jane Doe", "", "nothing"]

    found = detector.detect(texts)

    assert len(found) == len(texts)
    assert [texts[0][start:end] for kind, start, end in found[0] if kind == "person"] == ["Jane Doe"]
    assert all(kind in detector.kinds for each in found for kind, _, _ in each)
    assert found[1] == []


def test_what_a_detector_finds_counts(process):
    """With place, in keys too, beside what rules find, and nothing is clean at first sight any more."""
    scanner = Scanner(load_pack(), {"double_person": "redact"}, detectors=[process])

    result = scanner.scan({"who": "Jane Doe, 123-45-6789", "Jane Doe": 1})

    assert result.action == "redact"
    assert {(f.rule, f.path, f.start) for f in result.findings} == {
        ("double_person", "/who", 0),
        ("ssn", "/who", 10),
        ("double_person", "/[REDACTED:double_person]#key", 0),
    }
    assert result.value == {"who": "[REDACTED:double_person], [REDACTED:ssn]", "[REDACTED:double_person]": 1}
    assert scanner.suspects([encode_json({"a": 1})]) == range(1)


@pytest.mark.parametrize("text", ["crash", "hang", "nonsense", "outside"])
def test_a_detector_that_fails_refuses(process, text):
    """Dead, silent, or with an answer that makes no sense: unscannable, and later well again."""
    process._timeout_s = 0.5 if text == "hang" else 2
    scanner = Scanner(load_pack(), detectors=[process])

    assert scanner.scan({"a": text}).action == "unscannable"
    while (result := scanner.scan({"a": "Jane Doe"})).action == "unscannable":
        pass
    assert result.action == "alert"


def test_a_detector_that_is_not_there_is_told_at_the_start():
    """Unknown by name, or without its library."""
    with pytest.raises(ConfigurationError, match="no detector"):
        open_detectors(["other"], timeout_s=1)
    if not HAS_PRESIDIO:
        with pytest.raises(ConfigurationError, match="does not start"):
            open_detectors(["presidio"], timeout_s=1)
