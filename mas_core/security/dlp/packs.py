r"""Rule packs: rules and exceptions as a versioned YAML file, checked as a whole before any of it counts.

id: shop
version: "3"
extends: builtin
rules:
  - id: order_number
    category: custom
    pattern: '(?:^|[^0-9])(ORD-[0-9]{6})'
    action: alert
allow:
  - {rule: email, pattern: '.*@example\.org', reason: our own addresses}
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
import re2

from mas_core.errors import SpecInvalid
from mas_core.security.dlp.allow_list import Exemption, parse_exemption
from mas_core.security.dlp.patterns import UntranslatableError, backwards
from mas_core.security.dlp.rules import CATEGORIES, Rule, is_action
from mas_core.security.dlp.validators import VALIDATORS
from mas_core.settings.yaml_documents import YamlDocument, read_yaml, suggestion

QUIET: Final = re2.Options()
"""A pattern that does not compile is told by the exception alone, not on stderr."""
QUIET.log_errors = False

BUILT_IN: Final = Path(__file__).with_name("rules.yaml")
BUILT_IN_ID: Final = "builtin"
MAX_RULES: Final = 1000
MAX_PATTERN_SIZE: Final = 20_000
"""States of one pattern's program; a pattern with more would crowd out the others."""

_FIELDS: Final = frozenset({"id", "version", "extends", "rules", "allow", "allow_key_file"})


class RulePack(msgspec.Struct, frozen=True):
    """A versioned set of rules that was checked as a whole."""

    id: str
    version: str
    rules: tuple[Rule, ...]
    allow: tuple[Exemption, ...] = ()
    """What is let pass although a rule finds it."""


def load_pack(path: Path | None = None) -> RulePack:
    """Read a rule pack.

    Args:
        path: A YAML file with `id`, `version` and `rules`; the built-in pack when None.

    Raises:
        SpecInvalid: The file cannot be read or is no rule pack; names file, line and rule.
    """
    return _built_in() if path is None else _read(path)


@lru_cache(maxsize=1)
def _built_in() -> RulePack:
    return _read(BUILT_IN)


def _read(path: Path) -> RulePack:
    document = read_yaml(path)
    content = document.value
    for field in content:
        if field not in _FIELDS:
            raise document.error(
                f"a rule pack has no field {field!r}", field, hint=suggestion(field, _FIELDS)
            )
    pack_id, version = content.get("id"), content.get("version")
    if not (isinstance(pack_id, str) and pack_id and isinstance(version, str) and version):
        raise document.error(
            "a rule pack needs an id and a version, both text", "version", hint='version: "1"'
        )
    entries = content.get("rules")
    if not isinstance(entries, list):
        raise document.error("rules must be a list", "rules")
    rules: dict[str, Rule] = {}
    exemptions: list[Exemption] = []
    match content.get("extends"):
        case None:
            pass
        case str(base) if base == BUILT_IN_ID and path != BUILT_IN:
            rules = {rule.id: rule for rule in _built_in().rules}
        case _:
            raise document.error("a pack extends builtin, or nothing", "extends", hint="extends: builtin")
    own: set[str] = set()
    for number, entry in enumerate(entries):
        rule = _parse_rule(entry, number, document)
        if rule.id in own:
            raise document.error(f"rule {rule.id}: this id is used twice", "rules", number)
        own.add(rule.id)
        rules[rule.id] = rule
    if len(rules) > MAX_RULES:
        raise document.error(f"a rule pack has at most {MAX_RULES} rules", "rules")
    listed = content.get("allow", [])
    if not isinstance(listed, list):
        raise document.error("allow must be a list", "allow")
    for number, entry in enumerate(listed):
        exemptions.append(
            parse_exemption(entry, number, document, content.get("allow_key_file"), path.parent)
        )
        name = exemptions[-1].rule
        if name not in rules and name not in CATEGORIES and name != "*":
            raise document.error(
                f"there is no rule or category {name!r} to allow something of",
                "allow",
                number,
                hint=suggestion(name, rules),
            )
    return RulePack(id=pack_id, version=version, rules=tuple(rules.values()), allow=tuple(exemptions))


def _parse_rule(entry: object, number: int, document: YamlDocument) -> Rule:
    named = entry.get("id") if isinstance(entry, dict) else None
    where = f"rule {named}" if isinstance(named, str) else f"rule number {number + 1}"

    def wrong(what: str, field: str = "", hint: str = "") -> SpecInvalid:
        keys = ("rules", number, field) if field else ("rules", number)
        return document.error(f"{where}: {what}", *keys, hint=hint)

    try:
        rule = msgspec.convert(entry, Rule)
    except msgspec.ValidationError as error:
        raise wrong(str(error)) from error
    if not re2.fullmatch(r"[a-z][a-z0-9_]{0,62}", rule.id):
        raise wrong("an id has 1 to 63 of a-z 0-9 _ and starts with a letter", "id")
    if rule.id in CATEGORIES:
        raise wrong("this is the name of a category and cannot be the id of a rule", "id")
    if not is_action(rule.action):
        raise wrong(
            f"{rule.action!r} is not an action", "action", "block, redact, alert, off or encrypt:NAME"
        )
    if rule.validator and rule.validator not in VALIDATORS:
        raise wrong(
            f"unknown validator {rule.validator!r}", "validator", suggestion(rule.validator, VALIDATORS)
        )
    if not 0 <= rule.window <= 1000:
        raise wrong("window must be 0 to 1000", "window")
    if any(not word.strip() for word in rule.context):
        raise wrong("a context word is empty", "context")
    if rule.context and rule.cut != "never":
        raise wrong("a rule with context words cannot be looked for in parts", "cut", "cut: never")
    _check_pattern(rule.pattern, wrong, "pattern")
    if rule.cut == "never":
        if rule.backwards:
            raise wrong("only what is looked for in parts is looked for backwards", "backwards")
    elif rule.backwards:
        _check_pattern(rule.backwards, wrong, "backwards")
    else:
        try:
            rule = msgspec.structs.replace(rule, backwards=backwards(rule.pattern))
        except UntranslatableError:
            raise wrong(
                "the pattern is of a kind that cannot be turned around", "pattern", "cut: never"
            ) from None
    return rule


def _check_pattern(pattern: str, wrong: Callable[[str, str, str], SpecInvalid], field: str) -> None:
    try:
        compiled = re2.compile(pattern, QUIET)
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        text = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        raise wrong(
            f"RE2 does not take the {field}: {text}",
            field,
            "look-around and back-references are not part of RE2",
        ) from error
    if compiled.search("") is not None:
        raise wrong(f"the {field} matches the empty text", field, "")
    if compiled.programsize > MAX_PATTERN_SIZE:
        raise wrong(f"the {field} is too large", field, "smaller counts in {}")
