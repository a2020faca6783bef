"""Commands that look again and again: a screen with what changed marked, or lines of what changed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from mas_cli.following import Ending, Reconnects, Until, ending, limited
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record, value_at
from mas_cli.output.formats import Format, Section
from mas_core.errors import StoreUnreachable, UsageError

__all__ = ["Count", "For", "Shown", "Snapshot", "Until", "Watch", "snapshot", "watch_snapshots", "watched"]

LEAST_PAUSE = 0.1

Watch = Annotated[
    str | None,
    typer.Option(
        "--watch", metavar="[=DUR]", help="Look again and again, every 2s if not said; mark changes."
    ),
]
Count = Annotated[int | None, typer.Option(metavar="N", help="--watch: end after so many looks.")]
For = Annotated[str | None, typer.Option("--for", metavar="DUR", help="--watch: end after this time.")]


@dataclass(frozen=True)
class Watched:
    """How often and until when."""

    every: float
    end: Ending


def watched(watch: str | None, count: int | None, duration: str | None, until: str | None) -> Watched | None:
    """What --watch, --count, --for and --until ask for; None without --watch.

    Raises:
        UsageError: One of them cannot be, or the others come without --watch.
    """
    if watch is None:
        if any(value is not None for value in (count, duration, until)):
            raise UsageError("--count, --for and --until end what --watch begins", hint="--watch --for 1m")
        return None
    every = parse_duration(watch, "--watch")
    if every < LEAST_PAUSE:
        raise UsageError(f"--watch looks every {LEAST_PAUSE:g} s at most", hint="--watch=2s")
    return Watched(every, ending(count, duration, until))


@dataclass(frozen=True)
class Shown:
    """One table of what is watched."""

    columns: Sequence[Column]
    records: Sequence[Record]
    key: str = "name"
    """What tells its records apart."""
    is_single: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What one look gives: tables for people, and records for programs."""

    tables: Sequence[Shown]
    records: Shown
    """What goes out as lines; the first table, as a rule."""
    unsteady: frozenset[str] = frozenset()
    """Fields that alone make no record a changed one."""

    @property
    def value(self) -> object:
        """What `--output json` shows of one look."""
        records = self.records.records
        return records[0] if self.records.is_single and records else records


def snapshot(*tables: Shown, unsteady: frozenset[str] = frozenset()) -> Snapshot:
    """A snapshot whose first table is what programs get."""
    return Snapshot(tables, tables[0], unsteady)


async def watch_snapshots(call: Invocation, look: Callable[[], Awaitable[Snapshot]], how: Watched) -> None:
    """Look until the end that was asked for.

    Raises:
        OutputClosed: The reader has gone.
    """
    view = _Screen(call) if call.out.is_terminal and call.out.format is Format.TABLE else _Lines(call)
    looks = 0
    connection = Reconnects(call)
    async with limited(call, how.end, lambda: f"looked {looks} times, {view.changes} changes"):
        while how.end.count is None or looks < how.end.count:
            try:
                found = await look()
            except StoreUnreachable as error:
                await connection.lost(error)
                continue
            connection.answered()
            view.show(found)
            looks += 1
            if how.end.until is not None and how.end.until(found.value):
                break
            if looks != how.end.count:
                await asyncio.sleep(how.every)
                call.out.check_reader()


class _Screen:
    """Tables that are written over each other."""

    def __init__(self, call: Invocation) -> None:
        self._call = call
        self._before: list[Mapping[object, Record]] | None = None
        self.changes = 0

    def show(self, found: Snapshot) -> None:
        sections, before = [], self._before
        for number, shown in enumerate(found.tables):
            changed: set[tuple[int, str]] = set()
            if before is not None and number < len(before):
                changed = _changed_cells(shown, before[number], found.unsteady)
            self.changes += len(changed)
            sections.append(
                Section(shown.columns, shown.records, frozenset(changed), shown.is_single, number == 0)
            )
        height = shutil.get_terminal_size().lines
        self._call.out.screen(sections, first=before is None, height=height)
        self._before = [_by_key(shown) for shown in found.tables]


class _Lines:
    """One line for each record that is new, changed or gone."""

    def __init__(self, call: Invocation) -> None:
        self._out = call.out.as_lines()
        self._before: Mapping[object, Record] | None = None
        self.changes = 0

    def show(self, found: Snapshot) -> None:
        shown, first = found.records, self._before is None
        before, now = self._before or {}, _by_key(shown)
        is_head = first
        for key, record in now.items():
            if key in before and _steady(before[key], found) == _steady(record, found):
                continue
            self._out.event(shown.columns, record, first=is_head)
            is_head = False
            self.changes += not first
        for key in before.keys() - now.keys():
            self._out.event(shown.columns, {**before[key], "gone": True})
            self.changes += 1
        self._before = now


def _by_key(shown: Shown) -> dict[object, Record]:
    found: dict[object, Record] = {}
    for number, record in enumerate(shown.records):
        key = value_at(record, shown.key)
        # Several findings may have one name; the second of it is another row than the first.
        found[(key, sum(1 for other in shown.records[:number] if value_at(other, shown.key) == key))] = record
    return found


def _changed_cells(
    shown: Shown, before: Mapping[object, Record], unsteady: frozenset[str]
) -> set[tuple[int, str]]:
    changed: set[tuple[int, str]] = set()
    for number, (key, record) in enumerate(_by_key(shown).items()):
        old = before.get(key)
        if old is None:
            changed.add((number, shown.columns[0].key))
            continue
        changed |= {
            (number, column.key)
            for column in shown.columns
            if column.key not in unsteady and value_at(old, column.key) != value_at(record, column.key)
        }
    return changed


def _steady(record: Record, found: Snapshot) -> dict[str, object]:
    return {name: value for name, value in record.items() if name not in found.unsteady}
