"""YAML files are read as data only, and every error names its line."""

import re

import pytest

from mas_core.errors import SpecInvalid
from mas_core.settings.yaml_documents import parse_yaml, read_yaml


def test_values_have_the_types_of_json():
    """Numbers, booleans and null are typed; dates, `off` and numbers with leading zeros stay text."""
    text = "a: 1\nb: [x, 1.5e3]\nc: off\nd: 2026-01-01\ne:\nf: true\ng: 007\nh: '1'"

    value = parse_yaml(text, "f.yaml").value

    assert value == {
        "a": 1,
        "b": ["x", 1500.0],
        "c": "off",
        "d": "2026-01-01",
        "e": None,
        "f": True,
        "g": "007",
        "h": "1",
    }


def test_an_empty_file_is_an_empty_mapping():
    """A file with only a comment says nothing, which is no error."""
    assert parse_yaml("# nothing\n", "f.yaml").value == {}


def test_every_key_knows_its_line():
    """The line of a missing part is that of the nearest part around it."""
    document = parse_yaml("a: 1\nb:\n  - c: 2\n  - d:\n      e: 3\n", "f.yaml")

    assert document.line("b", 1, "d", "e") == 5
    assert document.line("b", 1, "missing", "deeper") == 4
    assert document.line("missing") == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "twice, first on line 1"),
        ("x: !!python/object/apply:os.system [touch /tmp/pwned]", 1, "tag '!!python/object/apply:os.system'"),
        ("x: !!python/name:os.system x", 1, "not allowed"),
        ("x: !!binary aGk=", 1, "'!!binary'"),
        ("x: 1e400", 1, "cannot be represented"),
        ("x: " + "9" * 5000, 1, "cannot be represented"),
        ("1: x", 1, "not text"),
        ("- a", 1, "must be a mapping"),
        ("a: [1, 2", 1, "not valid YAML"),
        ("a: 1\nb:\n\t- c", 3, "not valid YAML"),
        ("a: 1\n---\nb: 2", 2, "not valid YAML"),
        ("a: &x [*x]", 1, "nested deeper"),
        ("a: " + "[" * 3000, 0, "nested deeper"),
        ("a: \x07", 0, "characters"),
    ],
)
def test_s23_what_is_no_plain_data_is_refused_with_its_line(text, line, words):
    """Each refusal says where; no tag is ever constructed."""
    with pytest.raises(SpecInvalid) as caught:
        parse_yaml(text, "f.yaml")

    assert caught.value.line == line
    assert words in caught.value.message


def test_s23_an_alias_bomb_is_refused():
    """Nine aliases of nine aliases of ... do not fill the memory."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]

    with pytest.raises(SpecInvalid, match="expands to more"):
        parse_yaml("\n".join(lines), "f.yaml")


def test_s23_a_large_file_is_refused_before_it_is_parsed(tmp_path):
    """One byte over the limit is too much."""
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * 1_000_001)

    with pytest.raises(SpecInvalid, match="larger than 1000000 bytes"):
        read_yaml(path)


def test_text_that_is_not_utf8_names_its_line(tmp_path):
    """The line of the first wrong byte is named."""
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")

    with pytest.raises(SpecInvalid) as caught:
        read_yaml(path)

    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("a: b: c", "colon between quotes"),
        ("a: 1\nb\nc: 2", "space after the colon"),
        ("a: [1, 2", "close the bracket"),
        ("a:\n  - b\n c: 1", "equally"),
        ('a: "b', "close the quote"),
        ("a: *.md", "begins with \\*"),
        ("a: 1\n---\nb: 2", "without ---"),
        ("a: @b", "begins with @"),
        ("a: 1\nb:\n\t- c", "not tabs"),
    ],
)
def test_what_is_no_yaml_is_told_with_a_way_out(text, fix):
    """What the parser says in its own words comes with what to change."""
    with pytest.raises(SpecInvalid) as caught:
        parse_yaml(text, "f.yaml")

    assert re.search(fix, caught.value.hint[0])
