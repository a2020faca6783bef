"""Strict parsing of payload text."""

from __future__ import annotations

import contextlib
import json
import math
import time
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mas_core.errors import InvalidPayload
from mas_core.model.json_text import encode_json, misfit, parse_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


ACCEPTED = [
    b"{}",
    b"[]",
    b"null",
    b"true",
    b" \t\r\n{} \n",
    b"-0",
    b"-0.0",
    b"1E5",
    b"1e-400",
    b"5e-324",
    b"1.7976931348623157e308",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"9" * 4000,
    b"-" + b"9" * 4000,
    b'"' + b"9" * 5000 + b'"',
    b'"\\ud83d\\ude00"',
    b'"\\u0000\\u007f\\/"',
    '"\u202e\U0001f600"'.encode(),
    b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
    b'{"a":1, "b":2}',
    b'{"\\u0061":1,"A":2}',
    b'{"":1}',
    b'"' + b"[{" * 500 + b'\\"[["',
    nested(64),
    b'{"a":' * 64 + b"1" + b"}" * 64,
    b"[" + b"[]," * 1000 + b"{}]",
]

REFUSED = {
    "empty": b"",
    "only spaces": b" \n",
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"a":1}'.encode("utf-16"),
    "utf-16 without mark": '{"a":1}'.encode("utf-16-le"),
    "utf-32 without mark": '{"a":1}'.encode("utf-32-be"),
    "bad byte in a value": b'{"a":"\xff"}',
    "bad byte in a key": b'{"\xc3":1}',
    "bad byte outside": b"[\xff]",
    "encoded surrogate": b'"\xed\xa0\x80"',
    "overlong": b'"\xc0\xaf"',
    "lone high surrogate": b'"\\ud800"',
    "lone high surrogate inside": b'["\\ud800 and more"]',
    "lone low surrogate": b'"\\udc00"',
    "two high surrogates": b'"\\ud800\\ud800"',
    "surrogate in a key": b'{"\\ud800":1}',
    "duplicate key": b'{"a":1,"a":2}',
    "same pair twice": b'{"a":1,"a":1}',
    "duplicate key, escaped": b'{"a":1,"\\u0061":2}',
    "duplicate key, deep": b'[{"x":[{"a":1,"b":2,"a":3}]}]',
    "duplicate key beside long digits": b'{"n":' + b"9" * 4000 + b',"a":1,"a":2}',
    "duplicate empty key": b'{"":1,"":1}',
    "NaN": b"[NaN]",
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b"-Infinity",
    "too large": b"1e400",
    "too small": b"-1e400",
    "4001 digits": b"9" * 4001,
    "4001 digits inside": b'{"a":[-' + b"9" * 4001 + b"]}",
    "5000 digits": b"9" * 5000,
    "depth 65": nested(65),
    "depth 65 of objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "depth 65 behind a flat part": b"[[],[],{}," + nested(64) + b"]",
    "100,000 open brackets": b"[" * 100_000,
    "100,000 brackets": nested(100_000),
    "100,000 objects": b'{"a":' * 100_000,
    "trailing data": b"{} x",
    "two documents": b"1 2",
    "trailing comma": b'{"a":1,}',
    "leading zero": b"01",
    "plus": b"+1",
    "bare point": b"1.",
    "hexadecimal": b"0x10",
    "single quotes": b"{'a':1}",
    "comment": b"{}//",
    "raw control": b'"\n"',
    "raw zero": b'"\x00"',
    "only a zero": b"\x00",
    "unclosed": b'{"a":[1',
    "unclosed string": b'"abc',
    "backslash at the end": b'"\\',
    "bad escape": b'"\\x41"',
    "no value": b'{"a"}',
    "key is no string": b"{1:2}",
    "word": b"nul",
    "vertical tab": b"\x0b1",
    "no-break space": "\u00a01".encode(),
}


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda text: ascii(text[:24]))
def test_valid_documents_have_the_value_that_the_standard_library_sees(text):
    """What is accepted means the same to another parser."""
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_strict_json_is_refused(text):
    """Every doubtful document is refused with the one error of its kind."""
    with pytest.raises(InvalidPayload) as caught:
        parse_json(text)

    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (b"", 0),
        (b"\xef\xbb\xbf1", 0),
        (b"[1,x]", 3),
        (b'{"a":"b\xff"}', 7),
        (b'{"a":1,}', 7),
        (b"[1", 2),
        (b"[NaN]", 1),
    ],
)
def test_errors_say_where(text, position):
    """The byte at which the text goes wrong is part of the error."""
    with pytest.raises(InvalidPayload) as caught:
        parse_json(text)

    assert caught.value.details["position"] == position


def test_a_duplicate_key_is_named_but_made_harmless():
    """The key in the message is cut to 40 characters and shows no control character."""
    key = "\x1b[2J\u202e" + "k" * 100
    text = b"{%s:1,%s:2}" % ((json.dumps(key).encode(),) * 2)

    with pytest.raises(InvalidPayload) as caught:
        parse_json(text)

    assert "\\x1b[2J\\u202e" in caught.value.message
    assert "k" * 35 in caught.value.message
    assert "k" * 36 not in caught.value.message


def test_limits_can_be_set():
    """Size and depth are compared with the limits of the call."""
    assert parse_json(b"[[1]]", max_bytes=5, max_depth=2) == [[1]]
    with pytest.raises(InvalidPayload, match="6 bytes; at most 5"):
        parse_json(b"[[1]] ", max_bytes=5)
    with pytest.raises(InvalidPayload, match="deeper than 1 "):
        parse_json(b"[[1]]", max_depth=1)


@given(json_values)
def test_what_is_written_is_read_back(value):
    """Parsing undoes encoding, and encoding again gives the same bytes."""
    text = encode_json(value)

    assert parse_json(text) == value
    assert encode_json(parse_json(text)) == text


@given(json_values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_other_spellings_have_the_same_value(value, indent, ascii_only):
    """Documents written by another encoder are read with the same value."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()

    assert parse_json(text) == value


@settings(max_examples=500)
@given(st.binary(max_size=40) | st.text(st.sampled_from('[]{}",:\\u0d8eE+-.19 \nabtrueflsn'), max_size=40))
def test_any_bytes_are_refused_or_read_as_the_standard_library_reads_them(text):
    """No input raises anything else, and nothing is accepted that the standard library refuses."""
    text = text if isinstance(text, bytes) else text.encode()
    try:
        value = parse_json(text)
    except InvalidPayload:
        return

    assert value == json.loads(text)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), json_values), max_size=5))
def test_objects_are_refused_exactly_when_a_key_stands_twice(pairs):
    """A key twice is refused; the same object without it is accepted."""
    text = b"{%s}" % b",".join(encode_json(key) + b":" + encode_json(value) for key, value in pairs)

    if len(dict(pairs)) == len(pairs):
        assert parse_json(text) == dict(pairs)
    else:
        with pytest.raises(InvalidPayload, match="twice"):
            parse_json(text)


def looped() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [math.nan, {"a": [math.inf]}, [None, (-math.inf,)], "\ud800", object(), {(1, 2): 3}, 10**5000, looped()],
    ids=["nan", "inf", "-inf", "surrogate", "object", "key", "digits", "loop"],
)
def test_what_json_cannot_say_is_not_written(value):
    """Values without a JSON form are refused instead of changed."""
    with pytest.raises(InvalidPayload):
        encode_json(value)


def test_null_is_written():
    """None has a JSON form wherever it stands."""
    assert encode_json({"a": [None, 1.5]}) == b'{"a":[null,1.5]}'


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b",".join([b"9" * 3999] * 240) + b"]",
        b'["' + b'\\"[' * 300_000 + b'"]',
        b"[" + b'{"a":1},' * 120_000 + b"1]",
        b"[" + nested(63) * 7_000 + b"]",
        b'"' * 900_000,
        b'["' + b"\\" * 900_000,
    ],
    ids=["long integers", "escaped quotes", "many objects", "deep many times", "quotes", "backslashes"],
)
def test_no_text_takes_long(text):
    """The work grows with the length of the text, not with its square."""
    before = time.process_time()
    with contextlib.suppress(InvalidPayload):
        parse_json(text)

    assert time.process_time() - before < 1


def test_what_does_not_fit_is_told_without_texts_of_the_payload():
    """Neither values nor names of fields get into reasons, which are recorded."""

    class Shape(msgspec.Struct, forbid_unknown_fields=True):
        kind: Literal["a"]
        count: int = 0

    told = []
    for text in (
        b'{"kind":"s3cr3t - at `$.x`"}',
        b'{"kind":"s3cr3t\' - at"}',
        b'{"kind":"a","s3cr3t":1}',
        b'{"kind":"a","s3cr3t`":1}',
        b'{"kind":"a","count":"s3cr3t"}',
    ):
        with pytest.raises(msgspec.DecodeError) as caught:
            msgspec.json.decode(text, type=Shape)
        told.append(misfit(caught.value))

    assert told == [
        "Invalid enum value - at `$.kind`",
        "Invalid enum value - at `$.kind`",
        "Object contains unknown field",
        "Object contains unknown field",
        "Expected `int`, got `str` - at `$.count`",
    ]
