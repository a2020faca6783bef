"""Hostile text through every renderer."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mas_cli.output.colours import Palette
from mas_cli.output.columns import Column
from mas_cli.output.diagnostics import Diagnostics
from mas_cli.output.documents import csv_text, json_text, yaml_text
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format, Output, OutputOptions
from mas_cli.output.safe_text import cut, display_width, safe_text
from mas_core.errors import Forbidden

HOSTILE = [
    "[/oops]",
    "[red]not red",
    "[@click=app.revoke]agent-7[/]",
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[H",
    "\x9b31mred",
    "\x1b]52;c;ZXZpbA==\x1b\\",
    "line\nbreak\rreturn\ttab",
    "\x00null",
    "user\u202egnp.exe",
    "zero\u200bwidth\ufeff",
    "tag\U000e0041\U000e0042",
    "half \ud800 character",
    "\u2028separator\u2029",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    '{"error":{"code":"fake"}}',
    "x" * 20_000,
    "日本語 é",
]
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]"
)
anything = st.text(st.characters(codec=None), max_size=60)


def written(format_: Format, record: dict, width: int | None = None, *, one: bool = False) -> str:
    stream = io.BytesIO()
    out = Output(stream, "mas.test/1", OutputOptions(format=format_, width=width))
    columns = [Column("id"), Column("text", flexible=True)]
    if one:
        out.record(columns, record)
    else:
        out.records(columns, [record])
        out.event(columns, record, first=True)
    return stream.getvalue().decode()


@pytest.mark.parametrize("format_", list(Format))
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_format_lets_a_control_character_out(format_, text):
    """As a cell, a key, a nested value; as a list, one thing and a stream."""
    record = {"id": text, "text": {"inner": [text], text: 1}}

    for output in (
        written(format_, record),
        written(format_, record, 80),
        written(format_, record, one=True),
    ):
        assert not OBEYED.search(output)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_message_lets_a_control_character_out(text):
    """Errors, hints, details, notes, warnings and questions."""
    for json_errors in (False, True):
        stream = io.StringIO()
        talk = Diagnostics(stream, Palette(enabled=False), verbosity=2, json_errors=json_errors)
        talk.error(
            Forbidden(f"no: {text}", hint=text, because=text, closest=[text], text=text), ExitCode.REFUSED
        )
        talk.say(text)
        talk.warn(text)
        talk.detail(text)
        talk.count(text)
        talk.ask(text)

        assert not OBEYED.search(stream.getvalue())


def test_an_error_message_cannot_fake_a_second_error():
    """A line of JSON stays one line, and a block keeps further lines indented."""
    stream = io.StringIO()
    fake = 'x\n{"error":{"code":"fake"}}\nmas: ok: fine'
    Diagnostics(stream, Palette(enabled=False)).error(Forbidden(fake), ExitCode.REFUSED)
    Diagnostics(stream, Palette(enabled=False), json_errors=True).error(Forbidden(fake), ExitCode.REFUSED)

    *block, line = stream.getvalue().splitlines()
    assert [part for part in block[1:] if not part.startswith(" ")] == []
    assert json.loads(line)["error"]["message"] == fake


def test_hidden_characters_become_visible():
    """Nobody is fooled by a name that looks like another one."""
    assert safe_text("a\x1b[2J\n\x9b\u202e\u200b\U000e0041") == "a␛[2J␊\\x9b\\u202e\\u200b\\U000e0041"
    assert safe_text("Grüße 日本 👍") == "Grüße 日本 👍"


def test_long_text_is_cut_with_a_note():
    """What is missing is said."""
    shown = safe_text("é" * 34_000)

    assert shown.endswith("…+48 kB")
    assert len(shown) < 10_020


@given(anything)
def test_json_keeps_the_value(text):
    """Escaping changes the spelling, never the value."""
    encoded = json_text({"k": text, text: [text]})

    assert json.loads(encoded) == {"k": text, text: [text]} | ({"k": [text]} if text == "k" else {})
    assert not OBEYED.search(encoded)
    assert "\n" not in encoded


@given(st.text(max_size=60))
def test_yaml_keeps_the_value(text):
    """The same for YAML."""
    encoded = yaml_text([text, {"key": text}])

    assert [text, {"key": text}] == yaml.safe_load(encoded)
    assert not OBEYED.search(encoded)


@given(st.lists(st.lists(anything, min_size=2, max_size=2), max_size=4))
def test_csv_keeps_rows_and_disarms_formulas(rows):
    """Every record is one line; no cell starts a formula."""
    found = list(csv.reader(io.StringIO(csv_text(rows), newline="")))

    assert len(found) == len(rows)
    for row in found:
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


@given(anything, st.integers(min_value=1, max_value=20))
def test_cut_text_fits(text, width):
    """Wide and combining characters are counted as a terminal does."""
    safe = safe_text(text)

    assert display_width(cut(safe, width)) <= width
    assert cut(safe, width) == safe or cut(safe, width).endswith("…")


def test_wide_characters_take_two_columns():
    """CJK and emoji are wide, combining marks have no width."""
    assert display_width("日本") == 4
    assert display_width(unicodedata.normalize("NFD", "é")) == 1


def test_numbers_that_json_does_not_have_are_null():
    """NaN and infinities never reach a reader of JSON."""
    assert json_text({"a": float("nan"), "b": [float("inf")], "c": {1}, "d": (2,)}) == (
        '{"a":null,"b":[null],"c":[1],"d":[2]}'
    )
