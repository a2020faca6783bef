"""The payload grammar."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from mas_cli.input.payload import PayloadSource, payloads
from mas_core.errors import InvalidPayload, UsageError


def read(argument: str | None = None, stdin: str = "", count: int = 1, **settings: object) -> list[dict]:
    return list(payloads(PayloadSource(argument, **settings), io.StringIO(stdin), count=count))


def test_nothing_is_the_empty_object():
    """A message without a payload has an empty one."""
    assert read() == [{}]


def test_json_stands_in_the_argument():
    """Braces are left alone when no template is asked for."""
    assert read('{"a": "{{count}}", "ü": [1, 2.5, null, true]}') == [
        {"a": "{{count}}", "ü": [1, 2.5, None, True]}
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", '{"a": {"b": 1}}'),
        ("p.yaml", "a:\n  b: 1\n"),
        ("p.yml", "a: {b: 1}"),
        ("p", '{"a":{"b":1}}'),
    ],
)
def test_a_file_is_read_by_its_ending(tmp_path: Path, name, text):
    """YAML files hold the same as JSON."""
    (tmp_path / name).write_text(text)

    assert read(f"@{tmp_path / name}") == [{"a": {"b": 1}}]


def test_yaml_dates_stay_text(tmp_path: Path):
    """JSON has no dates."""
    (tmp_path / "p.yaml").write_text("day: 2026-01-31\n")

    assert read(f"@{tmp_path / 'p.yaml'}") == [{"day": "2026-01-31"}]


def test_standard_input_is_read_only_when_asked_for():
    """`-` reads it, after telling."""
    told = []

    found = list(payloads(PayloadSource("-"), io.StringIO('{"a":1}'), before_stdin=lambda: told.append(1)))

    assert found == [{"a": 1}]
    assert told == [1]
    assert read('{"b":1}', stdin="not json") == [{"b": 1}]


def test_flags_set_fields_on_top():
    """-F gives strings, -J any JSON."""
    found = read('{"a": 1, "b": 2}', fields=["a=x=y", "c="], json_fields=["d:=[1]", "e=3", "b:=null"])

    assert found == [{"a": "x=y", "b": None, "c": "", "d": [1], "e": 3}]


def test_lines_are_messages_of_their_own(tmp_path: Path):
    """Empty lines do not count."""
    path = tmp_path / "p.jsonl"
    path.write_text('{"a":1}\n\n{"a":2}\n')

    assert read("-", stdin=path.read_text(), lines=True) == [{"a": 1}, {"a": 2}]
    assert read(f"@{path}", lines=True, fields=["b=1"]) == [{"a": 1, "b": "1"}, {"a": 2, "b": "1"}]


def test_lines_are_read_as_they_come():
    """A pipe without end can feed a command."""
    lines = iter(['{"a":1}\n', '{"a":2}\n', "broken\n"])

    found = payloads(PayloadSource("-", lines=True), lines)

    assert next(found) == {"a": 1}
    assert next(found) == {"a": 2}
    with pytest.raises(InvalidPayload, match="line 3"):
        next(found)


def test_a_template_is_filled_in():
    """Each message has its own count, id, time and random word."""
    first, second = read(
        '{"n": {{count}}, "id": "{{id}}", "at": "{{ now }}", "r": "{{random 8}}"}', template=True, count=2
    )

    assert (first["n"], second["n"]) == (1, 2)
    assert first["id"] != second["id"]
    assert len(first["r"]) == 8
    assert first["at"].endswith("Z")
    assert read(template=True, fields=["k=v{{count}}"], count=2) == [{"k": "v1"}, {"k": "v2"}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 1, column 2"),
        ("nonsense", "not JSON"),
        ("[1]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('{"a": {"b": 1, "b": 2}}', "'b' is there twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "too large"),
        ('{"a": "\\ud800"}', "half of a character"),
        ('{"a": "\udcff"}', "half of a character"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "deeper than 64"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "deeper than 64"),
        ('{"a": ' + "9" * 5000 + "}", "payload"),
        ("", "not JSON"),
    ],
)
def test_what_is_no_strict_json_object_is_refused(text, says):
    """Each with what is wrong and where."""
    with pytest.raises(InvalidPayload) as raised:
        read(text)

    assert says in raised.value.message


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "a: &x [1]\nb: [*x, *x", "a: .nan\nb: !!python/object:os.system {}", "- 1", "\t"]
)
def test_yaml_is_as_strict(tmp_path: Path, text):
    """No key twice, no tags, an object at the root."""
    path = tmp_path / "p.yaml"
    path.write_text(text)

    with pytest.raises(InvalidPayload):
        read(f"@{path}")


def test_64_levels_are_enough():
    """The limit is the gateway's."""
    deep = json.loads('{"a":' * 64 + "1" + "}" * 64)

    assert read(json.dumps(deep)) == [deep]


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path):
    """In files as on standard input."""
    path = tmp_path / "p.json"
    path.write_bytes(b'{"a": "\xff"}')

    with pytest.raises(InvalidPayload, match="UTF-8"):
        read(f"@{path}")
    with pytest.raises(InvalidPayload, match="UTF-8"), path.open() as stdin:
        list(payloads(PayloadSource("-"), stdin))


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("@/nowhere/p.json", {}),
        (None, {"fields": ["novalue"]}),
        (None, {"lines": True}),
        ('{"a": "{{user}}"}', {"template": True}),
        ("-", {"lines": True, "count": 2}),
    ],
)
def test_contradictions_are_usage_errors(argument, settings):
    """A missing file, a field without value, an unknown placeholder, flags against each other."""
    with pytest.raises(UsageError):
        read(argument, **settings)
