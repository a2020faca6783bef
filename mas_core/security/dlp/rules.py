"""Rule packs: what is looked for, as data."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
import re2
import yaml

from mas_core.errors import ConfigurationError
from mas_core.security.dlp.validators import VALIDATORS

Action = Literal["block", "redact", "alert", "off"]
Category = Literal["pii", "phi", "pci", "secret", "custom"]
Severity = Literal["low", "medium", "high", "critical"]

ACTIONS: Final = frozenset(get_args(Action))
CATEGORIES: Final = frozenset(get_args(Category))

QUIET: Final = re2.Options()
"""A pattern that does not compile is told by the exception alone, not on stderr."""
QUIET.log_errors = False

MAX_PACK_BYTES: Final = 1_000_000
BUILT_IN: Final = Path(__file__).with_name("rules.yaml")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of sensitive data and how it is recognised.

    The pattern is RE2 and runs over normalised text in which a key ends with U+001F and a value with U+001E.
    When it has groups, the first that took part is the sensitive part and the rest only its surroundings.
    """

    id: str
    """Names the kind; lower case letters, digits and `_`."""
    category: Category
    pattern: str
    action: Action
    severity: Severity = "medium"
    validator: str = ""
    """Name of a check that a match must pass."""
    context: tuple[str, ...] = ()
    """Words of which one must stand in a key above or near the match; a space fits `_`, `-` or none too."""
    window: int = 40
    """How many characters before and after the match count as near."""
    cut: Literal["never", "strings", "scalars"] = "never"
    """Whether it is also looked for cut into parts: over neighbouring strings, or numbers too."""


class RulePack(msgspec.Struct, frozen=True):
    """A versioned set of rules that was checked as a whole."""

    id: str
    version: str
    rules: tuple[Rule, ...]


def load_pack(path: Path | None = None) -> RulePack:
    """Read a rule pack.

    Args:
        path: A YAML file with `id`, `version` and `rules`; the built-in pack when None.

    Raises:
        ConfigurationError: The file cannot be read or is no rule pack; the message names file and rule.
    """
    path = path or BUILT_IN
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PACK_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot read the rule pack: {error.strerror}") from error
    if len(content) > MAX_PACK_BYTES:
        raise ConfigurationError(f"{path}: a rule pack has at most {MAX_PACK_BYTES} bytes")
    try:
        document = yaml.load(content, Loader=_StrictLoader)  # noqa: S506 - derives from the safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: a rule pack is a mapping with id, version and rules")
    if unknown := sorted(map(str, document.keys() - {"id", "version", "rules"})):
        raise ConfigurationError(f"{path}: a rule pack has no field {', '.join(unknown)}")
    pack_id, version, entries = (document.get(field) for field in ("id", "version", "rules"))
    if not (isinstance(pack_id, str) and pack_id and isinstance(version, str) and version):
        raise ConfigurationError(
            f"{path}: a rule pack needs an id and a version, both text", hint='version: "1"'
        )
    if not isinstance(entries, list):
        raise ConfigurationError(f"{path}: rules must be a list")
    rules: dict[str, Rule] = {}
    for number, entry in enumerate(entries, 1):
        rule = _parse_rule(entry, number, path)
        if rule.id in rules:
            raise ConfigurationError(f"{path}: rule {rule.id}: this id is used twice", rule=rule.id)
        rules[rule.id] = rule
    return RulePack(id=pack_id, version=version, rules=tuple(rules.values()))


def _parse_rule(entry: object, number: int, path: Path) -> Rule:
    named = entry.get("id") if isinstance(entry, dict) else None
    where = f"{path}: rule {named}" if isinstance(named, str) else f"{path}: rule number {number}"
    try:
        rule = msgspec.convert(entry, Rule)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{where}: {error}", rule=str(named or number)) from error

    def wrong(what: str, hint: str = "") -> ConfigurationError:
        return ConfigurationError(f"{where}: {what}", hint=hint or (), rule=rule.id)

    if not re2.fullmatch(r"[a-z][a-z0-9_]{0,62}", rule.id):
        raise wrong("an id has 1 to 63 of a-z 0-9 _ and starts with a letter")
    if rule.id in CATEGORIES:
        raise wrong("this is the name of a category and cannot be the id of a rule")
    if rule.validator and rule.validator not in VALIDATORS:
        raise wrong(f"unknown validator {rule.validator!r}", f"known: {', '.join(sorted(VALIDATORS))}")
    if not 0 <= rule.window <= 1000:
        raise wrong("window must be 0 to 1000")
    if any(not word.strip() for word in rule.context):
        raise wrong("a context word is empty")
    try:
        pattern = re2.compile(rule.pattern, QUIET)
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        text = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        raise wrong(
            f"RE2 does not take the pattern: {text}", "look-around and back-references are not part of RE2"
        ) from error
    if pattern.search("") is not None:
        raise wrong("the pattern matches the empty text")
    return rule


class _StrictLoader(yaml.SafeLoader):
    """Plain YAML data, in which a key that stands twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, "this key stands twice", key_node.start_mark
                )
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)
