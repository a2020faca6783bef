"""Patterns written anew: backwards, or for JSON text as it is sent instead of the text of a `Document`.

A pattern of a rule is read into its parts and written again as RE2. Where a part can match a mark between
leaves, the JSON form also takes the punctuation that stands there in JSON text; where a secret may be cut,
it also takes the punctuation between neighbours. So the JSON form matches wherever the pattern would match
in the document or its seams, and now and then where it would not.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

Node = tuple[Any, Any]
Cut = Literal["never", "strings", "scalars"]

INNER_QUOTE: Final = "\x02"
"""Stands for a quotation mark inside a string, so that every other one is punctuation."""

_SRE: Final = importlib.import_module("re._parser")
_KEY_END, _VALUE_END = 0x1F, 0x1E
_QUOTE, _DASH = ord('"'), ord("-")

_BETWEEN_LEAVES: Final = r'(?:\.0)?(?:[",:\[\]{}\n]|null|true|false)+'
"""What JSON text has where a document has a mark; `.0` ends whole numbers that were written as floats."""
_BETWEEN_STRINGS: Final = r'(?:",(?:"[^"]*":)?"|":"|[ \t]*\n[ \t]*)'
"""Between two strings of a list or an object, between a key and its string, and between two lines."""
_BETWEEN_PARTS: Final = r'(?:",(?:"[^"]*":)?"|":"?)'
_BETWEEN_SCALARS: Final = r'(?:"?(?:\.0)?,(?:"[^"]*":)?"?|":"?)'
_LETTERS_IN_HINT: Final = 4
_EDGE: Final = r'[",:\[\]{}\n]'
_ESCAPES: Final = {"CATEGORY_DIGIT": "d", "CATEGORY_SPACE": "s", "CATEGORY_WORD": "w"} | {
    "CATEGORY_NOT_DIGIT": "D",
    "CATEGORY_NOT_SPACE": "S",
    "CATEGORY_NOT_WORD": "W",
}
_POSITIONS: Final = {
    "AT_BEGINNING": "^",
    "AT_BEGINNING_STRING": "^",
    "AT_END": "$",
    "AT_END_STRING": "$",
    "AT_BOUNDARY": r"\b",
    "AT_NON_BOUNDARY": r"\B",
}
_RE2_ESCAPE: Final = re.compile(r"\\(?:x\{([0-9A-Fa-f]{1,6})\}|.)", re.DOTALL)


class UntranslatableError(ValueError):
    """A pattern uses what only RE2 knows, so that it cannot be written anew."""


def json_form(pattern: str, cut: Cut = "never", *, in_groups: bool = False) -> str:
    """A pattern for compact JSON text that matches in it at least wherever `pattern` matches in its document.

    Args:
        pattern: RE2, over the text of a document.
        cut: Over which neighbours what it finds may be spread.
        in_groups: Whether neighbours are also looked at with a dash between them.

    Raises:
        UntranslatableError: The pattern uses what only RE2 knows.
    """

    def atom(text: str, matches: Callable[[int], bool]) -> str:
        options = [text]
        if matches(_KEY_END) or matches(_VALUE_END):
            options.append(_BETWEEN_LEAVES)
        if matches(_QUOTE):
            options.append(INNER_QUOTE)
        if cut != "never" and in_groups and matches(_DASH):
            options.append(_BETWEEN_SCALARS if cut == "scalars" else _BETWEEN_PARTS)
        written = "|".join(options)
        if cut != "never":
            return f"(?:(?:{written}){_BETWEEN_STRINGS}*)"
        return f"(?:{written})" if len(options) > 1 else text

    positions = {"^": f"(?:^|{_EDGE})", "$": rf"(?:$|(?:\.0)?{_EDGE})"}
    return _Writer(atom, positions, excluded='"').write(_head(_without_ends(_parse(pattern))))


def hint(pattern: str) -> str:
    """A short pattern that matches wherever `pattern` does; `pattern` itself when it cannot be shortened.

    An automaton that counts long runs of letters needs a state for each combination of counts, so a hint ends
    after the first few letters of such a run, and begins with the last one.
    """
    try:
        return _Writer(lambda text, _: text, {}, excluded="").write(_head(_without_ends(_parse(pattern))))
    except UntranslatableError:
        return pattern


def backwards(pattern: str) -> str:
    """A pattern for what `pattern` matches, with its characters in the opposite order.

    Raises:
        UntranslatableError: The pattern uses what only RE2 knows.
    """
    return _Writer(lambda text, _: text, {}, excluded="").write(_turned(_parse(pattern)))


def _parse(pattern: str) -> list[Node]:
    if "[:" in pattern or re.search(r"\\[QpPC]|\(\?[a-z]*[Um]", pattern):
        raise UntranslatableError(pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = _SRE.parse(_RE2_ESCAPE.sub(_python_escape, pattern))
    except (re.error, Warning, RecursionError, OverflowError) as error:
        raise UntranslatableError(pattern) from error
    if parsed.state.flags & (re.MULTILINE | re.VERBOSE):
        raise UntranslatableError(pattern)
    flags = parsed.state.flags & (re.IGNORECASE | re.DOTALL)
    return [(_SRE.SUBPATTERN, (None, flags, 0, list(parsed)))] if flags else list(parsed)


def _python_escape(found: re.Match[str]) -> str:
    if found[1]:
        return f"\\U{int(found[1], 16):08x}"
    return r"\Z" if found[0] == r"\z" else found[0]


class _Writer:
    """Writes parts of a pattern as RE2, each atom by way of `atom`."""

    def __init__(
        self,
        atom: Callable[[str, Callable[[int], bool]], str],
        positions: dict[str, str],
        *,
        excluded: str,
    ) -> None:
        self._atom = atom
        self._positions = positions
        self._excluded = excluded

    def write(self, nodes: Sequence[Node]) -> str:
        return "".join(self._node(*node) for node in nodes)

    def _node(self, kind: Any, value: Any) -> str:
        match str(kind):
            case "LITERAL":
                return self._atom(_character(value), lambda code: code == value)
            case "NOT_LITERAL":
                return self._class([(_SRE.NEGATE, None), (_SRE.LITERAL, value)])
            case "ANY":
                return self._class([(_SRE.NEGATE, None), (_SRE.LITERAL, 10)])
            case "IN":
                return self._class(value)
            case "BRANCH":
                return f"(?:{'|'.join(self.write(branch) for branch in value[1])})"
            case "SUBPATTERN":
                group, added, removed, inner = value
                if removed:
                    raise UntranslatableError
                letters = "i" * bool(added & re.IGNORECASE) + "s" * bool(added & re.DOTALL)
                return f"({'' if group and not letters else f'?{letters}:'}{self.write(inner)})"
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, inner = value
                many = "" if high is _SRE.MAXREPEAT else str(high)
                return f"(?:{self.write(inner)}){{{low},{many}}}"
            case "AT":
                position = _POSITIONS.get(str(value))
                if position is None:
                    raise UntranslatableError
                return self._positions.get(position, position)
        raise UntranslatableError(str(kind))

    def _class(self, members: Sequence[Node]) -> str:
        is_negated = members[0][0] is _SRE.NEGATE
        inside = "".join(_member(*member) for member in members[is_negated:])
        if is_negated:
            inside += "".join(map(_character, map(ord, self._excluded)))
        ranges = [_range(*member) for member in members[is_negated:]]

        def matches(code: int) -> bool:
            return any(belongs(code) for belongs in ranges) != is_negated

        return self._atom(f"[{'^' * is_negated}{inside}]", matches)


def _character(code: int) -> str:
    if chr(code).isascii() and chr(code).isalnum():
        return chr(code)
    return f"\\x{code:02x}" if code < 0x100 else f"\\x{{{code:x}}}"


def _member(kind: Any, value: Any) -> str:
    match str(kind):
        case "LITERAL":
            return _character(value)
        case "RANGE":
            return f"{_character(value[0])}-{_character(value[1])}"
        case "CATEGORY" if str(value) in _ESCAPES:
            return "\\" + _ESCAPES[str(value)]
    raise UntranslatableError(str(kind))


def _range(kind: Any, value: Any) -> Callable[[int], bool]:
    match str(kind):
        case "LITERAL":
            return lambda code: code == value
        case "RANGE":
            return lambda code: bool(value[0] <= code <= value[1])
        case _:
            matches = re.compile("\\" + _ESCAPES[str(value)], re.ASCII).match
            # RE2 takes fewer characters for white space than Python; for what it does not, more is not less.
            return lambda code: matches(chr(code)) is not None and chr(code) not in "\x0b\x1e\x1f"


def _turned(nodes: Sequence[Node]) -> list[Node]:
    """The parts in the opposite order."""
    turned: list[Node] = []
    for kind, value in reversed(nodes):
        match str(kind):
            case "BRANCH":
                turned.append((kind, (value[0], [_turned(branch) for branch in value[1]])))
            case "SUBPATTERN":
                turned.append((kind, (*value[:3], _turned(value[3]))))
            case "MAX_REPEAT" | "MIN_REPEAT":
                turned.append((kind, (*value[:2], _turned(value[2]))))
            case "AT":
                position = {"^": "AT_END", "$": "AT_BEGINNING"}.get(_POSITIONS.get(str(value), ""))
                turned.append((kind, getattr(_SRE, position) if position else value))
            case _:
                turned.append((kind, value))
    return turned


def _without_ends(nodes: Sequence[Node]) -> list[Node]:
    """The parts without repetitions at both ends that do not change whether there is a match."""
    return _turned(_without_tail(_turned(_without_tail(list(nodes)))))


def _head(nodes: Sequence[Node]) -> list[Node]:
    """The parts up to the first few letters of a long run, where a run at the very start is one letter."""
    return _shortened(_started(list(nodes)))[0]


def _started(nodes: list[Node]) -> list[Node]:
    if not nodes:
        return nodes
    kind, value = nodes[0]
    match str(kind):
        case "MAX_REPEAT" | "MIN_REPEAT" if value[0] > 0 and _holds_letters(value[2]):
            return [(kind, (1, 1, _started(list(value[2])))), *nodes[1:]]
        case "SUBPATTERN":
            return [(kind, (*value[:3], _started(list(value[3])))), *nodes[1:]]
        case "BRANCH":
            return [(kind, (value[0], [_started(list(branch)) for branch in value[1]])), *nodes[1:]]
    return nodes


def _shortened(nodes: Sequence[Node]) -> tuple[list[Node], bool]:
    """The parts up to where they were cut, and whether they were."""
    kept: list[Node] = []
    for kind, value in nodes:
        match str(kind):
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, _, inner = value
                shorter, is_cut = _shortened(inner)
                if low and is_cut:
                    return [*kept, (kind, (1, 1, shorter))], True
                if is_cut:
                    return kept, True
                if low > _LETTERS_IN_HINT and _holds_letters(inner):
                    return [*kept, (kind, (_LETTERS_IN_HINT, _LETTERS_IN_HINT, inner))], True
                kept.append((kind, value))
            case "SUBPATTERN":
                shorter, is_cut = _shortened(value[3])
                kept.append((kind, (*value[:3], shorter)))
                if is_cut:
                    return kept, True
            case "BRANCH":
                branches = [_shortened(branch) for branch in value[1]]
                kept.append((kind, (value[0], [shorter for shorter, _ in branches])))
                if any(is_cut for _, is_cut in branches):
                    return kept, True
            case _:
                kept.append((kind, value))
    return kept, False


def _holds_letters(nodes: Sequence[Node]) -> bool:
    """Whether some part takes a letter."""
    for kind, value in nodes:
        match str(kind):
            case "LITERAL":
                found = chr(value).isalpha()
            case "IN":
                ranges = [_range(*member) for member in value if member[0] is not _SRE.NEGATE]
                is_negated = value[0][0] is _SRE.NEGATE
                found = any(any(belongs(code) for belongs in ranges) != is_negated for code in b"AaZz")
            case "BRANCH":
                found = any(map(_holds_letters, value[1]))
            case "SUBPATTERN":
                found = _holds_letters(value[3])
            case "MAX_REPEAT" | "MIN_REPEAT":
                found = _holds_letters(value[2])
            case "AT":
                found = False
            case _:
                found = True
        if found:
            return True
    return False


def _without_tail(nodes: list[Node]) -> list[Node]:
    while nodes:
        kind, value = nodes[-1]
        match str(kind):
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, inner = value
                if low == 0:
                    nodes = nodes[:-1]
                    continue
                return [*nodes[:-1], (kind, (low, low, inner))] if low != high else nodes
            case "SUBPATTERN":
                return [*nodes[:-1], (kind, (*value[:3], _without_tail(list(value[3]))))]
            case "BRANCH":
                shorter = [_without_tail(list(branch)) for branch in value[1]]
                return [*nodes[:-1], (kind, (value[0], shorter))]
        break
    return nodes
