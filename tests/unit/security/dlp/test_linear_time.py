"""S21 and S22: no payload costs more than its size allows, whatever it is made of.

Costs are compared with that of ordinary text of the same size in the same process, in CPU time.
"""

import base64
import contextlib
import gzip
import random
import string
import time

import pytest

from mas_core.errors import SpecInvalid
from mas_core.model.json_text import encode_json
from mas_core.security.dlp import Scanner, load_pack
from mas_core.security.dlp.inspection import Inspection
from mas_core.security.dlp.matcher import Matcher

PACK = load_pack()
SCANNER = Scanner(PACK, {"ip": "alert"})
SIZE = 1_000_000
RANDOM = random.Random(11)
TEXTS = {
    "digits": "".join(RANDOM.choices("0123456789 -", k=SIZE)),
    "letters and digits": "".join(RANDOM.choices(string.ascii_letters + string.digits + "-_.", k=SIZE)),
    "printable": "".join(RANDOM.choices(string.printable[:95], k=SIZE)),
    "spaces": " " * SIZE,
    "line ends": "ab \n" * (SIZE // 4),
    **{
        unit: (unit * (SIZE // len(unit)))[:SIZE]
        for unit in (
            "4",
            "4 ",
            "4111 ",
            "1.",
            ":",
            "DE12 3456 ",
            "a@b.",
            "://a:",
            "A",
            "eyJ",
            "AKIA",
            "%41",
            "&#x41;",
        )
    },
}


def cpu(work, repeat=1):
    """Least CPU seconds of a few runs."""
    best = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def ordinary(size):
    return ("the quick brown fox jumps over the lazy dog and runs away with 17 of them. " * (size // 70))[
        :size
    ]


PROSE = ordinary(SIZE)


def prose():
    """CPU seconds of a megabyte of prose looked at closely, now: the pace of a shared machine varies."""
    return cpu(lambda: SCANNER.scan({"text": PROSE}), repeat=3)


@pytest.mark.parametrize("name", TEXTS)
def test_s22_hostile_megabytes_cost_little_more_than_prose(name):
    """S22: a megabyte that nearly matches costs a small multiple of one of prose, or is refused on the way."""
    value = {"text": TEXTS[name]}
    # The first look also makes what later ones go by.
    SCANNER.scan(value)

    # Of two looks the one that was disturbed less, each against the prose of its own moment.
    assert min(cpu(lambda: SCANNER.scan(value)) / prose() for _ in range(2)) < 150


@pytest.mark.parametrize("rule", [rule.id for rule in PACK.rules])
def test_s22_every_rule_is_linear(rule):
    """S22: four times the text costs about four times as much, for each rule and text that suits it."""
    (alone,) = (known for known in PACK.rules if known.id == rule)
    matcher = Matcher([alone], {})
    sample = f"{(alone.context or ('',))[0]} "
    for unit in ("4 ", "a1b2 ", f"{sample}12", f"{sample}A1"):
        values = [{"text": unit * (size // len(unit))} for size in (50_000, 200_000)]

        def look(value):
            with contextlib.suppress(ValueError):
                Inspection(matcher, value).hits()

        small, large = (cpu(lambda value=value: look(value), repeat=3) for value in values)
        # Prose is only looked at where it decides.
        assert large < 16 * small or large < 16 * small + prose(), unit


def test_s22_backtracking_is_no_pattern_or_no_danger(tmp_path):
    """S22: `(a+)+$` runs in linear time; what RE2 cannot run is refused with its line."""
    path = tmp_path / "pack.yaml"
    rule = "id: own\nversion: '1'\nrules:\n  - {{id: x, category: custom, action: block, pattern: '{}'}}\n"
    path.write_text(rule.format("(a+)+$"))
    scanner = Scanner(load_pack(path))
    value = {"text": "a" * 100_000 + "b"}

    assert scanner.scan(value).action == "pass"
    assert cpu(lambda: scanner.scan(value)) < 20 * prose()

    path.write_text(rule.format("(?=a)b"))
    with pytest.raises(SpecInvalid) as caught:
        load_pack(path)
    assert (caught.value.path, caught.value.line) == (str(path), 4)


@pytest.mark.parametrize("layers", range(1, 9))
def test_s21_nested_encodings(layers):
    """S21: what lies under at most four encodings is found, what lies deeper is not let pass."""
    secret = "my card is 4111 1111 1111 1111, thank you"
    for _ in range(layers):
        secret = base64.b64encode(secret.encode()).decode()

    result = SCANNER.scan({"text": secret})

    assert result.action == ("block" if layers <= 4 else "unscannable")


@pytest.mark.parametrize("size", [10**6, 10**8])
def test_s21_bombs_are_not_unpacked(size):
    """S21: what unpacks to more than four times its size is refused at a cost that does not grow with it."""
    bomb = base64.b64encode(gzip.compress(b"A" * size)).decode()

    result = SCANNER.scan({"text": bomb})

    assert result.action == "unscannable"
    assert cpu(lambda: SCANNER.scan({"text": bomb})) < 20 * prose()


def test_s22_the_first_look_is_linear():
    """S22: once its states are known the first look at a hostile megabyte is cheap."""
    for name, text in TEXTS.items():
        raw = [encode_json({"text": text})]
        SCANNER.suspects(raw)
        assert cpu(lambda raw=raw: SCANNER.suspects(raw), repeat=3) < 10 * prose(), name
