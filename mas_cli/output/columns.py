"""Columns of a table: which value of a record they show and how it reads.

Records are what JSON output holds: times as RFC 3339 in UTC, durations in seconds. A column turns such a
value into the text of a cell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal, NamedTuple

from mas_cli.output.colours import Style
from mas_core.errors import UsageError

Kind = Literal["text", "number", "time", "clock", "age", "duration"]
Record = Mapping[str, object]


class Column(NamedTuple):
    """One column."""

    key: str
    """Name of the value in the record; dots lead into nested records."""
    header: str = ""
    """What stands above it; the key when empty."""
    kind: Kind = "text"
    flexible: bool = False
    """Whether this column is cut first when the terminal is too narrow."""
    whole: bool = False
    """Whether it is cut last, because a part of it is of no use; numbers and times always are."""
    width: int = 0
    """In a stream, where what is to come is unknown: its width on a terminal, the least one in a pipe."""
    style: Callable[[object], Style | None] | None = None
    usual: object = None
    """A table that has nothing but this value in the column goes without the column."""

    @property
    def title(self) -> str:
        """The header as shown."""
        return (self.header or self.key.replace("_", " ").replace(".", " ")).upper()


def value_at(record: Record, key: str) -> object:
    """The value of `key`, or None; a key that is there as it stands wins over a path."""
    if key in record:
        return record[key]
    head, _, rest = key.partition(".")
    inner = record.get(head)
    return value_at(inner, rest) if rest and isinstance(inner, Mapping) else None


def with_rest(
    columns: Sequence[Column],
    record: Record,
    kinds: Mapping[str, Kind] = MappingProxyType({}),
    *,
    without: Collection[str] = (),
) -> tuple[Column, ...]:
    """These columns, and one for each further value of a record: what is shown of a single thing.

    Args:
        columns: The columns of its list.
        record: The thing.
        kinds: Kinds of further values; what ends in `_at` is a time, the rest text.
        without: Further values that are not shown.
    """
    known = {column.key for column in columns}.union(without)
    return (
        *columns,
        *(
            Column(key, kind=kinds.get(key, "time" if key.endswith("_at") else "text"))
            for key in record
            if key not in known
        ),
    )


def choose(columns: Sequence[Column], wanted: str | None, records: Sequence[Record]) -> tuple[Column, ...]:
    """The columns named by `--columns`, or all.

    Raises:
        UsageError: A name is neither a column nor a value of the first record.
    """
    if wanted is None:
        return tuple(columns)
    known = {column.key: column for column in columns}
    chosen: list[Column] = []
    for name in filter(None, (part.strip() for part in wanted.split(","))):
        if name in known:
            chosen.append(known[name])
        elif records and value_at(records[0], name) is not None:
            chosen.append(Column(name))
        else:
            names = [*known, *(records[0] if records else ())]
            raise UsageError(
                f"there is no column {name!r}",
                hint=f"--columns {','.join(known)}",
                closest=get_close_matches(name, names, 1),
            )
    if not chosen:
        raise UsageError("--columns names no column", hint=f"--columns {','.join(known)}")
    return tuple(chosen)


def cell(value: object, kind: Kind = "text", *, utc: bool = False, now: datetime | None = None) -> str:
    """The text of a cell; not yet safe to show."""
    if kind in {"time", "clock", "age"} and isinstance(value, str):
        return _moment(value, kind, utc=utc, now=now)
    if kind == "duration" and isinstance(value, int | float):
        return duration(float(value))
    return plain(value) or "-"


def plain(value: object) -> str:
    """A value as people write it: yes and no, lists with commas, the rest of JSON as it stands."""
    match value:
        case None | {} if not value:
            return ""
        case bool():
            return "yes" if value else "no"
        case str() | int():
            return str(value)
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
        case list() | tuple() if all(isinstance(item, str | int) for item in value):
            return ", ".join(map(plain, value))
        case Mapping() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
        case _:
            return str(value)


def duration(seconds: float) -> str:
    """Seconds as a person says them: `0.8s`, `45s`, `3m 5s`, `2h 10m`, `4d 3h`."""
    if abs(seconds) < 10:
        return f"{seconds:.3g}s"
    whole = round(seconds)
    for unit, size, small_unit, small in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "m", 60),
        ("m", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size}{unit} {rest}{small_unit}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def is_today(value: object, *, utc: bool = False, now: datetime | None = None) -> bool:
    """Whether this is a time of today, where the reader is or in UTC."""
    zone = UTC if utc else None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return moment.astimezone(zone).date() == (now or datetime.now(UTC)).astimezone(zone).date()


def _moment(text: str, kind: Kind, *, utc: bool, now: datetime | None) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if kind == "age" and not utc:
        seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
        return f"{duration(max(0, round(seconds)))} ago" if seconds > -1 else f"in {duration(-seconds)}"
    form = "%H:%M:%S" if kind == "clock" else "%Y-%m-%d %H:%M:%S"
    return f"{moment.astimezone(UTC):{form}}Z" if utc else f"{moment.astimezone():{form}}"
