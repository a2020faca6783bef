"""Selectors: conditions on the fields of records, such as `zone=eu`, `tier!=free`, `gpu`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from mas_core.errors import UsageError

_CONDITION = re.compile(r"(?P<absent>!)?(?P<key>[\w./-]+)(?:(?P<operator>!=|==|=)(?P<value>.*))?", re.DOTALL)


class Selector(NamedTuple):
    """One condition."""

    key: str
    operator: Literal["=", "!=", "exists", "absent"]
    value: str = ""

    def matches(self, record: Mapping[str, object]) -> bool:
        """Whether `record` fulfils this."""
        found = record.get(self.key)
        match self.operator:
            case "exists":
                return found is not None
            case "absent":
                return found is None
            case "=":
                return found is not None and _text(found) == self.value
            case "!=":
                return found is None or _text(found) != self.value


def parse_selectors(texts: Iterable[str]) -> tuple[Selector, ...]:
    """Conditions from `key=value`, `key!=value`, `key` (is there) and `!key` (is not); commas join several.

    Raises:
        UsageError: One is none of these.
    """
    return tuple(_parse(part.strip()) for text in texts for part in text.split(",") if part.strip())


def matches_all(selectors: Sequence[Selector], record: Mapping[str, object]) -> bool:
    """Whether `record` fulfils every condition."""
    return all(selector.matches(record) for selector in selectors)


def parse_pair(text: str, name: str) -> tuple[str, str]:
    """Key and value of `key=value`.

    Args:
        text: What was typed.
        name: The flag that it was typed for.

    Raises:
        UsageError: There is no `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"{name}: {text!r} has no key and value", hint=f"{name} key=value")
    return key, value


def _parse(text: str) -> Selector:
    match = _CONDITION.fullmatch(text)
    if match is None or (match["absent"] and match["operator"]):
        raise UsageError(f"{text!r} is not a selector", hint="zone=eu, tier!=free, gpu, !gpu")
    if match["absent"]:
        return Selector(match["key"], "absent")
    match match["operator"]:
        case None:
            return Selector(match["key"], "exists")
        case "!=":
            return Selector(match["key"], "!=", match["value"])
        case _:
            return Selector(match["key"], "=", match["value"])


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
