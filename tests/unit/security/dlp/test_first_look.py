"""The first look over JSON text lets nothing pass in which the close look would find something."""

import random
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.dlp_forms import FORMS, SECRETS
from support.dlp_samples import FOUND, NEAR_MISSES

from mas_core.model.json_text import encode_json
from mas_core.security.dlp import Scanner, load_pack

PACK = load_pack()
SCANNER = Scanner(PACK, {"*": "redact"})
SAMPLES = [value for values in (*FOUND.values(), *NEAR_MISSES.values()) for value in values]
WORDS = sorted(
    {word for value in map(str, SAMPLES) for word in value.replace(":", " ").split()}
    | {word for rule in PACK.rules for word in rule.context}
    | set("-/. \n\t\"'\\[]{},:")
)


def pieces_of(text):
    return st.lists(st.integers(0, len(text)), max_size=3).map(
        lambda cuts: [text[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True)]
    )


SECRET_TEXTS = [str(value) for value in SAMPLES if isinstance(value, str)]
TEXT = (
    st.sampled_from(WORDS)
    | st.sampled_from(SECRET_TEXTS)
    | st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)
    | st.lists(st.sampled_from(WORDS), max_size=3).map("".join)
    | st.text(string.printable, max_size=8)
    | st.text(max_size=6)
)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**8, 10**19)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(0, 10**17).map(float)
    | st.sampled_from([value for value in SAMPLES if isinstance(value, int | float)])
    | TEXT
)
CUT = st.sampled_from(SECRET_TEXTS).flatmap(pieces_of)
NUMBERS = (
    st.sampled_from(["4111111111111111", "5555555555554444", "123456789"])
    .flatmap(pieces_of)
    .map(lambda parts: [int(part) for part in parts if part and (part == "0" or part[0] != "0")])
)
JSON = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXT, inner, max_size=4)
        | CUT
        | NUMBERS
        | CUT.map(lambda parts: {f"k{number}": part for number, part in enumerate(parts)})
        | NUMBERS.map(lambda parts: {f"k{number}": part for number, part in enumerate(parts)})
        | CUT.map(lambda parts: {parts[0]: "".join(parts[1:])})
    ),
    max_leaves=10,
)


def missed(values):
    """Those that the first look lets pass although the close look finds something."""
    texts = [encode_json(value) for value in values]
    suspects = set(SCANNER.suspects(texts))
    return [
        value
        for index, value in enumerate(values)
        if index not in suspects and SCANNER.scan(value).action != "pass"
    ]


@pytest.mark.parametrize("form", FORMS)
def test_s16_no_evasion_passes_the_first_look(form):
    """Every form of the evasion matrix is as suspicious to the first look as to the close one."""
    values = [
        shape
        for secret in SECRETS.values()
        for value in [FORMS[form](secret)]
        for shape in (value, {"note": value}, [1, value, None], {"a": {"b": [value, "c"]}, "d": 2.5})
    ]

    assert missed(values) == []


def test_samples_do_not_pass_the_first_look():
    """What the built-in rules find is found in every place of a tree."""
    values = [
        shape
        for value in SAMPLES
        for shape in (
            value,
            {"data": value},
            [value],
            {"a": [{"b": value}, 7]},
            {"x": 1, "y": value, "z": "w"},
        )
    ]

    assert missed(values) == []


@given(JSON)
@settings(deadline=None, max_examples=1500)
@example({"4111 1111": "1111 1111"})
@example([4111.0, 1111.0, 1111.0, 1111.0])
@example({"cvv": 123.0})
@example([None, {"": {}}, "password", {"password": [True, "hunter22"]}])
def test_first_look_lets_nothing_pass_that_the_close_look_finds(value):
    """Over random trees of secrets, parts of secrets and ordinary words the first look is the stricter one."""
    assert missed([value]) == []


@given(st.lists(JSON, max_size=40))
@settings(deadline=None, max_examples=150)
def test_a_batch_says_what_single_looks_say(values):
    """Which payloads of a batch are suspicious does not depend on the others."""
    texts = [encode_json(value) for value in values]

    assert list(SCANNER.suspects(texts)) == [i for i, text in enumerate(texts) if SCANNER.suspects([text])]


def test_ordinary_payloads_are_clean_at_first_sight():
    """Ordinary messages cost one look, in batches and with line ends, quotation marks and umlauts."""
    rnd = random.Random(5)
    texts = [
        encode_json(
            {
                "task": "summarise",
                "title": 'Bericht für München \u2013 \u201eKapitel 3\u201c\n2. Zeile "so"',
                "items": [{"sku": f"AB-{rnd.randrange(10**5)}", "price": rnd.randrange(10**4) / 100}] * 3,
                "done": False,
            }
        )
        for _ in range(100)
    ]

    assert SCANNER.suspects(texts) == ()
