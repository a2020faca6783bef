"""A rule pack is taken as a whole or refused with the reason."""

import pytest

from mas_core.errors import ConfigurationError
from mas_core.security.dlp import Scanner, load_pack

RULE = "{id: order_no, category: custom, pattern: 'ORD-[0-9]{6}', action: block}"


def write(tmp_path, rules, head="id: own\nversion: '1'\n"):
    path = tmp_path / "pack.yaml"
    path.write_text(f"{head}rules:\n" + "".join(f"  - {rule}\n" for rule in rules))
    return path


def test_own_rule_is_found(tmp_path):
    """A rule from a file works like a built-in one."""
    pack = load_pack(write(tmp_path, [RULE]))

    result = Scanner(pack).scan({"a": "see ORD-123456"})

    assert (pack.id, pack.version) == ("own", "1")
    assert [(f.rule, f.category, f.start, f.end) for f in result.findings] == [("order_no", "custom", 4, 14)]
    assert result.action == "block"


def test_own_rule_with_context(tmp_path):
    """Context words count in keys and near the match, whole, in any case and as part of camelCase."""
    rule = (
        "{id: badge, category: custom, pattern: '[0-9]{6}', action: alert, context: [badge id], window: 10}"
    )
    scanner = Scanner(load_pack(write(tmp_path, [rule])))

    assert scanner.scan({"badge_id": 123456}).action == "alert"
    assert scanner.scan({"visitorBadgeId": "123456"}).action == "alert"
    assert scanner.scan("Badge-ID 123456").action == "alert"
    assert scanner.scan("badge id, which many people forget: 123456").action == "pass"
    assert scanner.scan({"badge_idea": "123456"}).action == "pass"
    assert scanner.scan({"badge_id": "lost", "n": "123456"}).action == "pass"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([RULE, RULE], "rule order_no: this id is used twice"),
        (["{id: x, category: custom, pattern: a, action: block, colour: red}"], "rule x: .*colour"),
        (
            ["{id: x, category: custom, pattern: a, action: block, validator: mod9}"],
            "rule x: unknown validator 'mod9'",
        ),
        (["{id: x, category: secrets, pattern: a, action: block}"], "rule x: .*secrets"),
        (["{id: x, category: custom, pattern: a, action: drop}"], "rule x: .*drop"),
        (["{id: x, category: custom, pattern: '(?=a)b', action: block}"], "rule x: RE2 does not take"),
        (["{id: x, category: custom, pattern: '(a)\\1', action: block}"], "rule x: RE2 does not take"),
        (
            ["{id: x, category: custom, pattern: 'a*', action: block}"],
            "rule x: the pattern matches the empty text",
        ),
        (
            ["{id: pii, category: custom, pattern: a, action: block}"],
            "rule pii: this is the name of a category",
        ),
        (["{id: X-1, category: custom, pattern: a, action: block}"], "rule X-1: an id has"),
        (
            ["{id: x, category: custom, pattern: a, action: block, context: ['']}"],
            "rule x: a context word is empty",
        ),
        (["{id: x, category: custom, pattern: a, action: block, window: -1}"], "rule x: window"),
        (["{id: x, id: y, category: custom, pattern: a, action: block}"], "twice"),
        (["{category: custom, pattern: a, action: block}"], "rule number 1: .*id"),
        (["just text"], "rule number 1"),
        (["!!python/object/apply:os.system ['true']"], "which is not allowed"),
    ],
)
def test_wrong_rule_is_named(tmp_path, rules, message):
    """What cannot be meant is refused, with file, rule and reason."""
    path = write(tmp_path, rules)

    with pytest.raises(ConfigurationError, match=message) as caught:
        load_pack(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "id: a\nversion: 1\nrules: []",
        "id: a\nrules: []",
        "id: a\nversion: 'b'\n",
        "a: &a [*a",
        "\x00",
        "rules: {}",
    ],
    ids=repr,
)
def test_wrong_file(tmp_path, content):
    """A file that is no rule pack is refused."""
    path = tmp_path / "pack.yaml"
    path.write_text(content)

    with pytest.raises(ConfigurationError, match=r"pack\.yaml"):
        load_pack(path)


def test_missing_and_oversized_file(tmp_path):
    """A file that is not there, or far too large, is refused before it is parsed."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_pack(tmp_path / "none.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigurationError, match="larger than"):
        load_pack(tmp_path / "big.yaml")


def test_nothing_is_written_to_stderr(tmp_path, capfd):
    """A pattern that does not compile is told by the exception alone."""
    with pytest.raises(ConfigurationError):
        load_pack(write(tmp_path, ["{id: x, category: custom, pattern: '(?=a)b', action: block}"]))

    assert capfd.readouterr().err == ""
