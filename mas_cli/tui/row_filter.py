"""The language of the filter line: words, fields, globs, comparisons, and `!` for the contrary.

    tutor type:task.* !heartbeat decision:refused ms>100 "free text"

All terms have to hold. A word is looked for in every text field, without regard to case.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mas_core.errors import UsageError
from mas_core.model.decision import DELIVERED

Get = Callable[[str], object]
"""Gives the value of a field of a row, None where there is none."""
_Test = Callable[[Get], bool]

_TERM: Final = re.compile(
    r"""(?P<no>!)?(?:(?P<field>[A-Za-z_.]+)(?P<sign>:|>=|<=|=|>|<))?(?P<value>"[^"]*"?|\S*)"""
)
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Decides which rows are shown.

    Args:
        text: As it was typed.
        tests: One for each term.
        words: What to highlight.
    """

    text: str = ""
    tests: tuple[_Test, ...] = ()
    words: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.tests)

    def matches(self, get: Get) -> bool:
        """Whether a row is shown."""
        return all(test(get) for test in self.tests)


def parse_filter(text: str, fields: Iterable[str]) -> RowFilter:
    """The filter that `text` describes.

    Args:
        text: What was typed.
        fields: Names that rows have; `from` and `to` stand for both ends with `agent:`.

    Raises:
        UsageError: It names a field that there is not, or compares with what is no number.
    """
    known = tuple(fields)
    tests: list[_Test] = []
    words: list[str] = []
    for term in _TERM.finditer(text):
        value = term["value"].strip('"')
        if not value:
            # still being typed
            continue
        name, sign = term["field"], term["sign"]
        if name is None:
            test = _contains(known, value)
            if not term["no"]:
                words.append(value)
        else:
            test = _about(name.lower(), sign, value, known)
        tests.append(_not(test) if term["no"] else test)
    return RowFilter(text.strip(), tuple(tests), tuple(words))


def _about(name: str, sign: str, value: str, known: Sequence[str]) -> _Test:
    if name == "agent" and "agent" not in known:
        ends = [_field(end, value) for end in ("from", "to") if end in known] or [_field("id", value)]
        return lambda get: any(test(get) for test in ends)
    if name not in known:
        raise UsageError(f"there is no field {name!r}", hint=f"fields: {', '.join(known)}")
    if sign in _COMPARISONS:
        return _compared(name, sign, value)
    if name == "decision" and value == "refused":
        return lambda get: get("decision") not in DELIVERED
    return _field(name, value)


def _contains(known: Sequence[str], word: str) -> _Test:
    wanted = word.casefold()
    return lambda get: any(wanted in str(value).casefold() for name in known if (value := get(name)))


def _field(name: str, value: str) -> _Test:
    """Equal to a glob: `*` is any text; commas separate alternatives."""
    globs = [part.casefold().split("*") for part in value.split(",") if part]

    def test(get: Get) -> bool:
        found = get(name)
        texts = found if isinstance(found, (list, tuple)) else ("" if found is None else found,)
        return any(_is_like(str(text).casefold(), glob) for text in texts for glob in globs)

    return test


def _is_like(text: str, parts: Sequence[str]) -> bool:
    """Whether `text` is the parts with anything between them; each is looked for once, so this is linear."""
    if len(parts) == 1:
        return text == parts[0]
    if not text.startswith(parts[0]):
        return False
    at = len(parts[0])
    for part in parts[1:-1]:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - len(parts[-1]) >= at and text.endswith(parts[-1])


def _compared(name: str, sign: str, value: str) -> _Test:
    try:
        limit = float(value)
    except ValueError:
        raise UsageError(f"{name}{sign} needs a number, not {value!r}") from None
    compare = _COMPARISONS[sign]

    def test(get: Get) -> bool:
        found = get(name)
        return isinstance(found, (int, float)) and compare(found, limit)

    return test


def _not(test: _Test) -> _Test:
    return lambda get: not test(get)
