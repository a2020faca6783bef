"""The payload grammar: `'{"a":1}'`, `@file.json`, `@file.yaml`, `-`, fields by flag, templates, lines."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO, TypeVar

from mas_cli.deadlines import interrupted_by_ctrl_c
from mas_cli.input.selectors import parse_pair
from mas_core.errors import InvalidPayload, SpecInvalid, UsageError

DEEPEST = 64
"""Levels of nesting, as in the gateway."""

_T = TypeVar("_T")

_PLACEHOLDER = re.compile(r"\{\{\s*(?P<name>[a-z]+)(?:\s+(?P<argument>\d+))?\s*\}\}")
_RANDOM_DIGITS = string.ascii_lowercase + string.digits
_HINT = ("""'{"key": "value"}', @file.json, @file.yaml, - for standard input""", "mas help payloads")


class PayloadSource(NamedTuple):
    """What a command was given to make payloads from."""

    argument: str | None = None
    fields: Sequence[str] = ()
    """-F key=value: strings."""
    json_fields: Sequence[str] = ()
    """-J key:=json: any JSON value."""
    lines: bool = False
    """Every line of the source is a message of its own."""
    template: bool = False
    """Fill in `{{count}}`, `{{id}}`, `{{now}}` and `{{random 8}}`."""


class _Text(NamedTuple):
    where: str
    text: str
    is_yaml: bool = False


def payloads(
    source: PayloadSource, stdin: TextIO, *, count: int = 1, before_stdin: Callable[[], None] = lambda: None
) -> Iterator[dict[str, object]]:
    """The payloads that `source` describes, `count` times over.

    Lines are read as they come, so that a pipe can feed a command without end.

    Args:
        source: Argument and flags.
        stdin: Read only when the argument is `-`.
        count: How often the whole source is repeated.
        before_stdin: Called before standard input is read.

    Raises:
        InvalidPayload: It is not a JSON object, says a key twice, holds NaN, or nests too deeply.
        UsageError: The file cannot be read, a placeholder is unknown, or flags contradict each other.
    """
    if source.lines and source.argument is None:
        raise UsageError("--lines needs a source", hint="- for standard input, or @file.jsonl")
    if source.lines and count != 1:
        raise UsageError("--lines and --count exclude each other")
    fields = _fields(source)
    texts = _texts(source, stdin, before_stdin)
    repeated = texts if source.lines else (text for text in list(texts) for _ in range(count))
    for number, item in enumerate(repeated, start=1):
        filled = _filled(item.text, number) if source.template else item.text
        extra = _fields(source, number) if source.template else fields
        yield _object(_Text(item.where, filled, item.is_yaml), extra)


def payload_lines(
    source: PayloadSource, stdin: TextIO, *, before_stdin: Callable[[], None] = lambda: None
) -> Iterator[dict[str, object] | InvalidPayload]:
    """What `payloads` gives for a source of lines, but a bad line does not end it.

    Raises:
        UsageError: As `payloads`.
    """
    fields = _fields(source)
    texts = _texts(source, stdin, before_stdin)
    for number, item in enumerate(texts, start=1):
        try:
            filled = _filled(item.text, number) if source.template else item.text
            yield _object(item._replace(text=filled), _fields(source, number) if source.template else fields)
        except InvalidPayload as error:
            yield error


def given_value(argument: str, stdin: TextIO, *, before_stdin: Callable[[], None] = lambda: None) -> object:
    """One JSON value from an argument, `@file` or `-`.

    Raises:
        InvalidPayload: It is not JSON.
        UsageError: The file cannot be read.
    """
    if argument != "-" and not argument.startswith("@"):
        return parse_value(argument, "value", hint="""'"text"', 20, true, '["a", "b"]', @file.json""")
    (item,) = _texts(PayloadSource(argument), stdin, before_stdin)
    return _yaml_value(item) if item.is_yaml else parse_value(item.text, item.where)


def parse_value(text: str, where: str = "value", hint: Sequence[str] | str = _HINT) -> object:
    """One strict JSON value: UTF-8, no key twice, no NaN, at most 64 levels.

    Raises:
        InvalidPayload: It is not.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite_float
        )
    except json.JSONDecodeError as error:
        raise InvalidPayload(
            f"{where} is not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}",
            hint=hint,
        ) from None
    except RecursionError:
        value = None
        depth = DEEPEST + 1
    except ValueError as error:
        raise InvalidPayload(f"{where}: {error}", hint="mas help payloads") from None
    else:
        depth = _depth(value)
    if depth > DEEPEST:
        raise InvalidPayload(f"{where} nests deeper than {DEEPEST} levels")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidPayload(f"{where} is not UTF-8: it holds half of a character") from None
    return value


def _texts(source: PayloadSource, stdin: TextIO, before_stdin: Callable[[], None]) -> Iterator[_Text]:
    argument = source.argument
    if argument is None:
        yield _Text("payload", "{}")
        return
    if argument == "-":
        if source.lines:
            before_stdin()
            yield from _numbered("standard input", stdin)
        else:

            def announced() -> str:
                # who is told to type may press Ctrl-C at once
                before_stdin()
                return stdin.read()

            yield _Text("standard input", _decoded(announced, "standard input"))
        return
    if not argument.startswith("@"):
        yield from (
            _numbered("payload", iter(argument.splitlines()))
            if source.lines
            else [_Text("payload", argument)]
        )
        return
    path = Path(argument[1:]).expanduser()
    try:
        text = _decoded(lambda: path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=f"ls -l {path.parent}") from None
    if source.lines:
        yield from _numbered(str(path), iter(text.splitlines()))
    else:
        yield _Text(str(path), text, path.suffix in {".yaml", ".yml"})


def _numbered(where: str, lines: Iterator[str] | TextIO) -> Iterator[_Text]:
    number = 0
    while True:
        number += 1
        line = _decoded(lambda: next(lines, None), f"{where}, line {number}")
        if line is None:
            return
        if line.strip():
            yield _Text(f"{where}, line {number}", line)


def _decoded(read: Callable[[], _T], where: str) -> _T:
    try:
        with interrupted_by_ctrl_c():
            return read()
    except UnicodeDecodeError as error:
        raise InvalidPayload(f"{where} is not UTF-8: byte {error.start} is wrong") from None


def _object(item: _Text, fields: dict[str, object]) -> dict[str, object]:
    value = _yaml_value(item) if item.is_yaml else parse_value(item.text, item.where)
    if not isinstance(value, dict):
        raise InvalidPayload(f"{item.where} is not a JSON object", hint=_HINT)
    return {**value, **fields}


def _yaml_value(item: _Text) -> object:
    from mas_core.settings.yaml_documents import parse_yaml

    try:
        return parse_yaml(item.text, item.where).value
    except SpecInvalid as error:
        raise InvalidPayload(error.message, hint=error.hint or "mas help payloads") from None


def _fields(source: PayloadSource, number: int = 1) -> dict[str, object]:
    def filled(text: str) -> str:
        return _filled(text, number) if source.template else text

    found: dict[str, object] = {}
    for text in source.fields:
        key, value = parse_pair(text, "-F")
        found[key] = filled(value)
    for text in source.json_fields:
        key, value = parse_pair(text, "-J")
        found[key.removesuffix(":")] = parse_value(filled(value), f"-J {key.removesuffix(':')}")
    return found


def _filled(text: str, number: int) -> str:
    def value(match: re.Match[str]) -> str:
        match match["name"], match["argument"]:
            case "count", None:
                return str(number)
            case "id", None:
                return secrets.token_hex(16)
            case "now", None:
                return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            case "random", size:
                return "".join(secrets.choice(_RANDOM_DIGITS) for _ in range(min(int(size or 8), 4096)))
            case _:
                raise UsageError(
                    f"{match[0]} is not a placeholder", hint="{{count}}, {{id}}, {{now}}, {{random 8}}"
                )

    return _PLACEHOLDER.sub(value, text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _finite_float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _depth(value: object) -> int:
    deepest = 0
    waiting = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, level)
            waiting.extend(
                (child, level + 1) for child in (item.values() if isinstance(item, dict) else item)
            )
    return deepest
