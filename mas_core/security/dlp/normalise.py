"""Text as a reader sees it: one form for the many ways to write the same characters.

Compatibility forms, digits of every script, look-alike letters, dashes and spaces become ASCII; characters
that show nothing are dropped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

_LOOK_ALIKES: Final = dict(
    zip(
        "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁԛԝһӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧοαρνικ",
        "ABESIJKMHOPCTYXaeijopcyxsdqwhlABEZHIKMNOPTYXoapvik",
        strict=True,
    )
) | {
    **dict.fromkeys("\u2212\u2043\u02d7", "-"),
    **dict.fromkeys("\u00b7\u2022\u2219\u22c5\u2024\u30fb\u3002", "."),
    **dict.fromkeys("\u2044\u2215", "/"),
}
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_KEPT_CONTROLS: Final = frozenset("\t\n\r")


def fold(character: str) -> str:
    """What one character is read as: one or more characters, or none when it shows nothing."""
    if character in _LOOK_ALIKES:
        return _LOOK_ALIKES[character]
    category = unicodedata.category(character)
    if character in _BLANK_LETTERS or category in {"Cf", "Mn", "Me"}:
        return ""
    if category == "Cc":
        return character if character in _KEPT_CONTROLS else ""
    if category in {"Pd", "Pc"} and not character.isascii():
        return "-" if category == "Pd" else "_"
    if category == "Zs":
        return " "
    if category in {"Zl", "Zp"}:
        return "\n"
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain == character else "".join(map(fold, plain))


class _FoldTable(dict[int, str]):
    """Folds each character once; emptied when hostile text has filled it."""

    def __missing__(self, code: int) -> str:
        if len(self) > 20_000:
            self.clear()
        folded = self[code] = fold(chr(code))
        return folded


_TABLE: Final = _FoldTable()
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


def normalise(text: str) -> str:
    """`text` as a reader sees it; the same object when nothing is to be done."""
    if text.isascii() and (text.isprintable() or not text.translate(_PLAIN_ASCII)):
        return text
    return text.translate(_TABLE)


def fold_beyond_ascii(text: str, quote: str) -> str:
    """`text` with everything beyond ASCII folded, and `quote` for each quotation mark that comes of it."""
    return _BEYOND_ASCII.sub(lambda found: found[0].translate(_TABLE).replace('"', quote), text)


def origins(text: str) -> Sequence[int]:
    """For each character of `normalise(text)`, and for its end, the offset in `text` that it comes from."""
    places = [place for place, character in enumerate(text) for _ in _TABLE[ord(character)]]
    places.append(len(text))
    return places


_PLAIN_ASCII: Final = {code: None for code in range(128) if chr(code).isprintable() or chr(code) in "\t\n\r"}
