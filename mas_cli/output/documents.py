"""Values as JSON, JSON Lines, YAML and CSV: whole, and without a byte that a terminal would obey."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from mas_cli.output.columns import plain
from mas_cli.output.safe_text import INVISIBLE, safe_text

_TO_ESCAPE = re.compile(f"[{INVISIBLE}]")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def json_text(value: object, *, indent: int | None = None) -> str:
    """`value` as JSON on one line, or indented; a number that JSON does not have is null."""
    separators = (",", ":") if indent is None else (",", ": ")

    def encoded(data: object) -> str:
        return json.dumps(
            data,
            ensure_ascii=False,
            allow_nan=False,
            indent=indent,
            separators=separators,
            default=_known_to_json,
        )

    try:
        text = encoded(value)
    except ValueError:
        text = encoded(_builtin(value))
    return _TO_ESCAPE.sub(_escaped_in_json, text)


def yaml_text(value: object) -> str:
    """`value` as YAML."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the name is PyYAML's
            return True

    def scalar(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        # escapes exist only between double quotes
        return dumper.represent_scalar(
            "tag:yaml.org,2002:str", text, style='"' if _TO_ESCAPE.search(text) else None
        )

    Dumper.add_representer(str, scalar)
    text = yaml.dump(_builtin(value), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
    return _TO_ESCAPE.sub(_escaped_in_yaml, text)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV; a cell that a spreadsheet would take for a formula starts with an apostrophe."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_csv_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _csv_cell(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else plain(value)
    is_formula = not isinstance(value, int | float) and text.startswith(_FORMULA_STARTS)
    return ("'" if is_formula else "") + safe_text(text, limit=None)


def _escaped_in_json(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" else "\\u007f"


def _escaped_in_yaml(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _known_to_json(value: object) -> object:
    return _builtin(value) if isinstance(value, Mapping | set | frozenset) else str(value)


def _builtin(value: object) -> object:
    match value:
        case float():
            return value if isfinite(value) else None
        case Mapping():
            return {str(key): _builtin(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_builtin(item) for item in value]
        case None | bool() | int():
            return value
        case _:
            return str(value)
