"""Encodings that text hides in, and what is found when they are undone.

A layer has a hint, a pattern for the automaton that says whether it may be there, and a decoder. Layers are
undone one at a time; the caller looks into what comes out, and so on until the budget is spent.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import html
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

from mas_core.security.dlp.document import JsonValue

MAX_LAYERS: Final = 4
MAX_GROWTH: Final = 4
MIN_BUDGET: Final = 64 * 1024
MAX_CANDIDATES: Final = 10_000


class BudgetError(ValueError):
    """Looking further would cost more than a message may cost; the text says what."""


class Budget:
    """What one scan may still spend.

    Args:
        size: Characters of the value that is scanned.
    """

    def __init__(self, size: int) -> None:
        self.characters = max(size * MAX_GROWTH, MIN_BUDGET)
        self.candidates = MAX_CANDIDATES

    def spend(self, characters: int) -> None:
        """Pay for decoded text.

        Raises:
            BudgetError: There is not enough left.
        """
        self.characters -= characters
        if self.characters < 0:
            raise BudgetError(f"decoded content is more than {MAX_GROWTH} times as large")

    def spend_candidate(self) -> None:
        """Pay for one closer look.

        Raises:
            BudgetError: There is not enough left.
        """
        self.candidates -= 1
        if self.candidates < 0:
            raise BudgetError(f"more than {MAX_CANDIDATES} places to look at")


class Decoded(NamedTuple):
    """What a span of text says when one layer is undone."""

    value: JsonValue
    start: int
    end: int
    origins: Sequence[int] | None = None
    """For text that maps character by character: where each one, and the end, comes from."""


class Layer(NamedTuple):
    """One kind of encoding."""

    hint: str
    json_hint: str
    """The same for JSON text, in which U+0002 stands for a quotation mark inside a string."""
    decode: Callable[[str, Budget], Iterator[Decoded]]


def _json(text: str, budget: Budget) -> Iterator[Decoded]:
    """A string that is a JSON document."""
    if text.lstrip()[:1] not in {"{", "[", '"'}:
        return
    try:
        value = json.loads(text)
    except ValueError:
        return
    budget.spend(len(text))
    yield Decoded(value, 0, len(text))


_CODED_CHARACTER: Final = re.compile(
    r"\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|%[0-7][0-9A-Fa-f]|%[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){1,3}|"
    r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
)


def _characters(text: str, budget: Budget) -> Iterator[Decoded]:
    """Text in which characters are written as escapes, percent codes or HTML entities."""
    pieces: list[str] = []
    places: list[int] = []
    position = 0
    for found in _CODED_CHARACTER.finditer(text):
        plain = _plain_character(found[0])
        pieces += text[position : found.start()], plain
        places += range(position, found.start())
        places += [found.start()] * len(plain)
        position = found.end()
    if not position:
        return
    pieces.append(text[position:])
    places += range(position, len(text) + 1)
    decoded = "".join(pieces)
    if decoded != text:
        budget.spend(len(decoded))
        yield Decoded(decoded, 0, len(text), places)


def _plain_character(code: str) -> str:
    if code[0] == "%":
        return unquote(code)
    if code[0] == "&":
        return html.unescape(code)
    number = int(code.lstrip("\\ux"), 16)
    return "\ufffd" if 0xD800 <= number < 0xE000 else chr(number)


_ASCII_GROUP: Final = r"[I-Za-f][C-HS-Xi-ny-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
_UTF16_GROUP: Final = r"A[A-H][AEIMQUYcgkosw048]A"
# Three or more groups of four that each decode to ASCII, which random text hardly ever has; the same in
# UTF-16; or the first bytes of gzip or zlib.
_BASE64_TEXT: Final = (
    rf"(?:{_ASCII_GROUP}){{3}}|H4sIA[A-Za-z0-9+/_-]|"
    rf"{_UTF16_GROUP}[A-Za-z0-9+/_-][AQgw][AB][A-Za-z0-9+/_-]{_UTF16_GROUP}|"
    r"(?:^|[^A-Za-z0-9+/_-])e(?:A[E-H]|F[4-7]|J[w-z]|N[o-r])[A-Za-z0-9+/_-]{9}"
)
_BASE64_HINT: Final = re.compile(_BASE64_TEXT)
_BASE64_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_-]{12,}(?:\r?\n[A-Za-z0-9+/_-]+)*")
_TO_STANDARD: Final = {ord("-"): "+", ord("_"): "/", ord("\r"): None, ord("\n"): None}


def _base64(text: str, budget: Budget) -> Iterator[Decoded]:
    """Words in base64 or base64url that hold text or gzip, wherever in the word they start."""
    for token in _BASE64_TOKEN.finditer(text):
        hint = _BASE64_HINT.search(token[0])
        if hint is None:
            continue
        for offset in {0, hint.start() % 4}:
            word = token[0][offset:].translate(_TO_STANDARD)
            word = word[: len(word) - (len(word) % 4 == 1)]
            data = base64.b64decode(word + "=" * (-len(word) % 4))
            yield Decoded(_text_of(data, budget), token.start(), token.end())


_HEX_TEXT: Final = (
    r"(?:[2-7][0-9A-Fa-f]){9}|(?:[2-7][0-9A-Fa-f]00){5}|1[fF]8[bB]080|"
    r"(?:^|[^0-9A-Za-z])78(?:01|5[eE]|9[cC]|[dD][aA])[0-9A-Fa-f]{16}"
)
_HEX_TOKEN: Final = re.compile(r"[0-9A-Fa-f]{18,}")
_HEX_HINT: Final = re.compile(_HEX_TEXT)


def _hex(text: str, budget: Budget) -> Iterator[Decoded]:
    """Words in hexadecimal that hold text."""
    for token in _HEX_TOKEN.finditer(text):
        hint = _HEX_HINT.search(token[0])
        if hint is None:
            continue
        word = token[0][hint.start() % 2 :]
        data = binascii.unhexlify(word[: len(word) - len(word) % 2])
        yield Decoded(_text_of(data, budget), token.start(), token.end())


def _text_of(data: bytes, budget: Budget) -> str:
    """Bytes as text, unpacked when they are gzip or zlib; what is no text becomes U+FFFD."""
    if data[:2] == b"\x1f\x8b" or (data[:1] == b"\x78" and int.from_bytes(data[:2], "big") % 31 == 0):
        unpacker = zlib.decompressobj(wbits=47)
        # What was cut, or is not packed after all, is looked at as it stands.
        with contextlib.suppress(zlib.error):
            data = unpacker.decompress(data, budget.characters + 1) + unpacker.unused_data
    budget.spend(len(data))
    if data.count(0) * 3 > len(data):
        encoding = "utf-16-be" if data[::2].count(0) > data[1::2].count(0) else "utf-16-le"
        return data.decode(encoding, errors="replace")
    return data.decode(errors="replace")


_CHARACTERS_HINT: Final = r"%[0-7C-Fc-f][0-9A-Fa-f]|\\[ux][0-9A-Fa-f]{2}|&#?[0-9A-Za-z]{2,31};"

LAYERS: Final[dict[str, Layer]] = {
    "layer:json": Layer(
        r'(?:^|[\x1e\x1f])\s*[\[{"]',
        r'"\s*(?:\[[^"]*\]|\{[^"]*\}|\x02[^"]*\x02)\s*"',
        _json,
    ),
    "layer:characters": Layer(_CHARACTERS_HINT, _CHARACTERS_HINT, _characters),
    "layer:base64": Layer(_BASE64_TEXT, _BASE64_TEXT, _base64),
    "layer:hex": Layer(_HEX_TEXT, _HEX_TEXT, _hex),
}
