"""Payload text: strict JSON parsing, and the one form in which we write JSON.

Strict means RFC 8259 in UTF-8 without a byte order mark, no key twice in an object, no number or nesting that
one reader takes and another does not. Two parsers can then never see different values in the same bytes.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable
from typing import Final, NoReturn, TypeAlias

import msgspec

from mas_core.errors import InvalidPayload

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

Parsed: TypeAlias = tuple[JsonValue, bytes]
"""A value, and its text as we write it."""

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
MAX_INTEGER_DIGITS: Final = 4_000

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

# The look-behind tries each run of digits once; without it long runs cost the square of their length.
_LONG_DIGITS = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_INTEGER_DIGITS + 1))
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_POSITION = re.compile(r"(?:JSON is malformed: )?(.*?)(?: \(byte ([0-9]+)\))?")
_TEXT_OF_PAYLOAD = re.compile(r"(value|field) (?:'.*'|\".*\"|`.*`)(?= - at `[^`]*`\Z|\Z)", re.DOTALL)
_CUT_AT_SURROGATE = re.compile(rb'\\u[dD][89abAB][0-9a-fA-F]{2}"[\s\]}]*\Z')


def parse_json(text: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> JsonValue:
    """The value that `text` says; parameters and errors as for `parse_and_rewrite`."""
    return parse_and_rewrite(text, max_bytes=max_bytes, max_depth=max_depth)[0]


def parse_and_rewrite(
    text: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> tuple[JsonValue, bytes]:
    """The value that `text` says, and that value written anew as `encode_json` does.

    Args:
        text: One JSON document.
        max_bytes: Longest text that is looked at.
        max_depth: Most objects and arrays that may stand inside each other.

    Raises:
        InvalidPayload: It is too long, too deep, or not strict JSON; `details` has the byte as `position`
            where it is known.
    """
    if len(text) > max_bytes:
        raise InvalidPayload(
            f"the payload has {len(text)} bytes; at most {max_bytes} are taken",
            size=len(text),
            limit=max_bytes,
        )
    try:
        value: JsonValue = _decode(text)
    except RecursionError:
        _refuse_depth(max_depth)
    except ValueError as error:
        _refuse_syntax(text, error)
    if text.count(b"{") + text.count(b"[") > max_depth and _is_deeper(text, max_depth):
        _refuse_depth(max_depth)
    has_long_digits = len(text) > MAX_INTEGER_DIGITS and _LONG_DIGITS.search(text) is not None
    # Written anew, an object has each key once, so equal bytes had each key once.
    rewritten = _encode(value)
    if has_long_digits or rewritten != text:
        _check_members(text)
    return value, rewritten


def parse_all(texts: Iterable[bytes], *, max_bytes: int = MAX_BYTES) -> list[Parsed | InvalidPayload]:
    """What `parse_and_rewrite` gives for each text, or the error that it raises; fast for short plain texts."""
    results: list[Parsed | InvalidPayload] = []
    short = min(max_bytes, MAX_INTEGER_DIGITS)
    for text in texts:
        if len(text) <= short and text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
            try:
                value: JsonValue = _decode(text)
            except (ValueError, RecursionError):
                pass
            else:
                # As this is how we write it, it says nothing twice.
                if _encode(value) == text:
                    results.append((value, text))
                    continue
        try:
            results.append(parse_and_rewrite(text, max_bytes=max_bytes))
        except InvalidPayload as error:
            # Its traceback holds this frame, and with it every text, until a search for cycles comes by.
            error.__context__ = None
            results.append(error.with_traceback(None))
    return results


def encode_json(value: object) -> bytes:
    """`value` as compact JSON: no spaces, keys in their order, only the escapes that JSON demands.

    Raises:
        InvalidPayload: JSON cannot say it.
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidPayload(f"the value cannot be written as JSON: {error}") from error
    # NaN and infinities are written as null, so only a text with null can hide one.
    if b"null" in text and _has_non_finite(value):
        raise InvalidPayload("the value cannot be written as JSON: NaN and infinity are not JSON numbers")
    return text


def misfit(error: msgspec.DecodeError) -> str:
    """What is wrong with a payload that has not the shape it should have, without any text of it."""
    return _TEXT_OF_PAYLOAD.sub(r"\1", str(error))


def _is_deeper(text: bytes, max_depth: int) -> bool:
    """Whether valid JSON nests deeper, found without recursion: each round removes the innermost pairs."""
    brackets = _STRING.sub(b"", text).translate(_TO_SQUARE, _NOT_BRACKETS)
    for _ in range(max_depth):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _check_members(text: bytes) -> None:
    """Refuse keys that stand twice in one object, and integers that are too long."""
    json.loads(text, object_pairs_hook=_check_keys, parse_int=_check_digits, parse_float=_ignore)


def _check_keys(pairs: list[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            shown = ascii(key[:40]) + ("..." if len(key) > 40 else "")
            raise InvalidPayload(f"the payload has the key {shown} twice in one object", key=key[:40])
        seen.add(key)


def _check_digits(digits: str) -> None:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise InvalidPayload(f"the payload has an integer of more than {MAX_INTEGER_DIGITS} digits")


def _ignore(_number: str) -> None:
    """Numbers were judged by the parser before."""


def _refuse_depth(max_depth: int) -> NoReturn:
    raise InvalidPayload(f"the payload nests deeper than {max_depth} levels", limit=max_depth) from None


def _refuse_syntax(text: bytes, error: ValueError) -> NoReturn:
    if not text.strip():
        raise InvalidPayload("the payload is empty", position=0) from None
    if text.startswith(codecs.BOM_UTF8):
        raise InvalidPayload("the payload starts with a byte order mark", position=0) from None
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\x00" in text[:4]:
        raise InvalidPayload("the payload is UTF-16 or UTF-32; it must be UTF-8", position=0) from None
    try:
        text.decode()
    except UnicodeDecodeError as problem:
        position = problem.start
        raise InvalidPayload(f"the payload is not UTF-8 at byte {position}", position=position) from None
    found = _POSITION.fullmatch(str(error))
    what, byte = found.groups() if found else ("not JSON", None)
    if byte is not None:
        raise InvalidPayload(f"the payload is not JSON: {what} at byte {byte}", position=int(byte)) from None
    if _CUT_AT_SURROGATE.search(text):
        raise InvalidPayload("the payload has half of a surrogate pair at its end") from None
    if what == "Input data was truncated":
        raise InvalidPayload("the payload ends in the middle of a value", position=len(text)) from None
    raise InvalidPayload(f"the payload is not JSON: {what.lower()}") from None


def _has_non_finite(value: object) -> bool:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, float) and not math.isfinite(found):
            return True
        if isinstance(found, dict):
            waiting.extend(found.values())
        elif isinstance(found, list | tuple | set | frozenset):
            waiting.extend(found)
    return False
