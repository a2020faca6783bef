"""The one writer to standard output.

A command hands over records or a document; the format decides how they look. JSON and its like leave as
bytes, uncoloured and whole, whatever the terminal.
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterable, Iterable, Sequence
from enum import StrEnum
from typing import BinaryIO, NamedTuple

from mas_cli.errors import OutputClosed, OutputFailed
from mas_cli.output.colours import Palette
from mas_cli.output.columns import Column, Record, cell, choose, is_today, value_at
from mas_cli.output.documents import csv_text, json_text, yaml_text
from mas_cli.output.pager import PagedStream
from mas_cli.output.safe_text import display_width, safe_text
from mas_cli.output.tables import Cell, Layout, fields, natural_width, table
from mas_core.errors import UnknownFormat


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    CSV = "csv"
    NAME = "name"

    @property
    def is_json(self) -> bool:
        """Whether errors are written as JSON too."""
        return self in {Format.JSON, Format.JSONL}


FORMATS = "|".join(Format)
UNKNOWN_WIDTH = 14
"""On a terminal, the width of a column of a stream that has none of its own."""


def parse_format(text: str) -> Format:
    """The format called `text`.

    Raises:
        UnknownFormat: There is none.
    """
    try:
        return Format(text.lower())
    except ValueError:
        raise UnknownFormat(
            f"{text!r} is not an output format", hint=f"use one of {', '.join(Format)}"
        ) from None


class OutputOptions(NamedTuple):
    """What the shared flags and the terminal say about output."""

    format: Format = Format.TABLE
    columns: str | None = None
    headers: bool = True
    envelope: bool = False
    utc: bool = False
    width: int | None = None
    """Columns of the terminal; None when output is not a terminal."""
    palette: Palette = Palette(enabled=False)


class Section(NamedTuple):
    """One table of a screen that is written again and again."""

    columns: Sequence[Column]
    records: Sequence[Record]
    changed: frozenset[tuple[int, str]] = frozenset()
    """Cells to mark: number of the record and key of the column."""
    is_single: bool = False
    """Whether it shows one record as lines of name and value."""
    is_main: bool = True
    """Whether --columns chooses its columns."""


class Output:
    """Standard output."""

    def __init__(self, stream: BinaryIO, schema: str, options: OutputOptions) -> None:
        self._stream = stream
        self._schema = schema
        self.options = options

    @property
    def format(self) -> Format:
        """The format that is written."""
        return self.options.format

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at this."""
        return self.options.width is not None

    def records(self, columns: Sequence[Column], records: Iterable[Record]) -> int:
        """Write a list; returns how many records there were."""
        listed = list(records)
        chosen = choose(columns, self.options.columns, listed)
        match self.format:
            case Format.TABLE:
                self._table(self._telling(chosen, listed), listed)
            case Format.CSV:
                header = [[column.key for column in chosen]] if self.options.headers else []
                rows = [[value_at(record, column.key) for column in chosen] for record in listed]
                self.write(csv_text([*header, *rows]))
            case Format.NAME:
                self._lines(_name_of(record, columns) for record in listed)
            case Format.JSONL:
                self._lines(json_text(self._enveloped(self._projected(record, chosen))) for record in listed)
            case _:
                self._document([self._projected(record, chosen) for record in listed])
        return len(listed)

    def record(self, columns: Sequence[Column], record: Record) -> None:
        """Write one thing."""
        chosen = choose(columns, self.options.columns, [record])
        match self.format:
            case Format.TABLE:
                pairs = [(safe_text(column.title.lower()), self._cell(column, record)) for column in chosen]
                self._lines(fields(pairs, width=self.options.width, palette=self.options.palette))
            case Format.CSV | Format.NAME:
                self.records(columns, [record])
            case Format.JSONL:
                self._lines([json_text(self._enveloped(self._projected(record, chosen)))])
            case _:
                self._document(self._projected(record, chosen))

    def as_lines(self) -> Output:
        """The same stream for programs: tables become JSON Lines, every other format stays."""
        if self.format is not Format.TABLE:
            return self
        return Output(self._stream, self._schema, self.options._replace(format=Format.JSONL))

    def screen(self, sections: Sequence[Section], *, first: bool, height: int) -> None:
        """Write tables over those written before, with the cells marked that are named in their sections.

        Args:
            sections: What is shown, from the top.
            first: Whether there is nothing of ours yet.
            height: Lines of the terminal; what does not fit is counted.
        """
        lines: list[str] = []
        for section in sections:
            lines += [""] if lines and section.records else []
            lines += self._marked(section)
        room = max(1, height - 2)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"… and {len(lines) - room + 1} more lines"]
        self.go_direct()
        start = "\x1b[2J\x1b[H" if first else "\x1b[H"
        self.write(start + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self.flush()

    def _marked(self, section: Section) -> list[str]:
        options = self.options
        # Only what lists the main things takes --columns; other sections stand as they are.
        wanted = options.columns if section.is_main else None
        columns = choose(section.columns, wanted, section.records)
        rows = []
        for number, record in enumerate(section.records):
            cells = []
            for column in columns:
                cell_ = self._cell(column, record)
                is_changed = (number, column.key) in section.changed
                cells.append(Cell(f"{cell_.text}*", "changed") if is_changed else cell_)
            rows.append(cells)
        if section.is_single and rows:
            pairs = [
                (safe_text(column.title.lower()), shown)
                for column, shown in zip(columns, rows[0], strict=True)
            ]
            return fields(pairs, width=options.width, palette=options.palette)
        layouts = [self._layout(column, streamed=False) for column in columns]
        if not rows:
            return []
        return table(layouts, rows, headers=options.headers, width=options.width, palette=options.palette)

    async def listed(self, columns: Sequence[Column], records: AsyncIterable[Record]) -> int:
        """Write a long list, a record at a time where the format allows it; returns how many there were."""
        if self.format in {Format.TABLE, Format.JSON, Format.YAML}:
            return self.records(columns, [record async for record in records])
        count = 0
        async for record in records:
            self.event(columns, record, first=count == 0)
            count += 1
        return count

    def event(self, columns: Sequence[Column], record: Record, *, first: bool = False) -> None:
        """Write one item of a stream at once; `first` writes the headers before it."""
        self.go_direct()
        chosen = choose(columns, self.options.columns, [record])
        match self.format:
            case Format.TABLE:
                self._table(chosen, [record], headers=first, streamed=True)
            case Format.CSV:
                header = [[column.key for column in chosen]] if first and self.options.headers else []
                self.write(csv_text([*header, [value_at(record, column.key) for column in chosen]]))
            case Format.NAME:
                self._lines([_name_of(record, columns)])
            case Format.YAML:
                self.write("---\n" + yaml_text(self._enveloped(self._projected(record, chosen))))
            case _:
                self._lines([json_text(self._enveloped(self._projected(record, chosen)))])
        self.flush()

    def document(self, value: object) -> None:
        """Write a JSON value as it is, such as the payload of a reply."""
        match self.format:
            case Format.JSONL | Format.NAME | Format.CSV:
                self._lines([json_text(self._enveloped(value))])
            case Format.TABLE:
                self._lines([json_text(value)])
            case _:
                self._document(value)

    def raw(self, text: str) -> None:
        """Write text from the wire without quotes: as it is, but for a terminal made safe."""
        self.write((safe_text(text, limit=None) if self.is_terminal else text) + "\n")

    def text(self, text: str, record: Record) -> None:
        """Write prose of our own as it stands, or `record` when a program reads."""
        if self.format in {Format.TABLE, Format.NAME, Format.CSV}:
            self.write(text if text.endswith("\n") else text + "\n")
        else:
            self.record([Column(key) for key in record], record)

    def write(self, text: str) -> None:
        """Write `text`, which is safe already.

        Raises:
            OutputClosed: Nobody reads any more.
        """
        self.write_bytes(text.encode(errors="backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        """Write `data` as it is; not for terminals.

        Raises:
            OutputClosed: Nobody reads any more.
            OutputFailed: It cannot be written, such as to a full disk.
        """
        try:
            self._stream.write(data)
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            raise OutputFailed.of(error) from error

    def go_direct(self) -> None:
        """Have no pager for what has no end."""
        if isinstance(self._stream, PagedStream):
            self._stream.go_direct()

    def close(self) -> None:
        """Wait for the pager, if there is one."""
        if isinstance(self._stream, PagedStream):
            self._stream.close()

    def check_reader(self) -> None:
        """Notice that the reader has gone although there is nothing to write.

        Raises:
            OutputClosed: Nobody reads any more.
        """
        watched = select.poll()
        try:
            watched.register(self._stream.fileno(), 0)
        except (OSError, ValueError):
            return
        if any(happened & select.POLLERR for _, happened in watched.poll(0)):
            raise OutputClosed

    def flush(self) -> None:
        """Hand over what is buffered.

        Raises:
            OutputClosed: Nobody reads any more.
            OutputFailed: It cannot be written, such as to a full disk.
        """
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            raise OutputFailed.of(error) from error

    def _table(
        self,
        columns: Sequence[Column],
        records: Sequence[Record],
        *,
        headers: bool = True,
        streamed: bool = False,
    ) -> None:
        if not records:
            return
        options = self.options
        layouts = [self._layout(column, streamed=streamed) for column in columns]
        rows = [[self._cell(column, record) for column in columns] for record in records]
        if options.width is not None and not streamed and natural_width(layouts, rows) > options.width:
            columns = [self._without_today(column, records) for column in columns]
            rows = [[self._cell(column, record) for column in columns] for record in records]
        self._lines(
            table(
                layouts,
                rows,
                headers=headers and options.headers,
                width=options.width,
                palette=options.palette,
            )
        )

    def _without_today(self, column: Column, records: Sequence[Record]) -> Column:
        """A column of times, without the date where that is today's for all of them."""
        values = [value for record in records if (value := value_at(record, column.key)) is not None]
        if column.kind != "time" or not all(is_today(value, utc=self.options.utc) for value in values):
            return column
        return column._replace(kind="clock")

    def _layout(self, column: Column, *, streamed: bool) -> Layout:
        title = safe_text(column.title)
        is_fixed = streamed and self.is_terminal
        least = max(column.width or (UNKNOWN_WIDTH if is_fixed else 0), display_width(title))
        return Layout(
            title,
            right=column.kind == "number",
            flexible=column.flexible,
            whole=column.whole or column.kind in {"number", "time", "clock"},
            least=least if streamed else 0,
            fixed=is_fixed,
        )

    def _telling(self, columns: Sequence[Column], records: Sequence[Record]) -> Sequence[Column]:
        """The columns that say something, unless they were asked for by name."""
        if self.options.columns is not None:
            return columns
        return [
            column
            for column in columns
            if column.usual is None or any(value_at(record, column.key) != column.usual for record in records)
        ]

    def _cell(self, column: Column, record: Record) -> Cell:
        value = value_at(record, column.key)
        text = safe_text(cell(value, column.kind, utc=self.options.utc))
        return Cell(text, column.style(value) if column.style else None)

    def _projected(self, record: Record, chosen: Sequence[Column]) -> Record:
        if self.options.columns is None:
            return record
        return {column.key: value_at(record, column.key) for column in chosen}

    def _enveloped(self, value: object) -> object:
        return {"schema": self._schema, "data": value} if self.options.envelope else value

    def _document(self, value: object) -> None:
        enveloped = self._enveloped(value)
        if self.format is Format.YAML:
            self.write(yaml_text(enveloped))
        else:
            self._lines([json_text(enveloped, indent=2 if self.is_terminal else None)])

    def _lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line + "\n")


def _name_of(record: Record, columns: Sequence[Column]) -> str:
    return safe_text(cell(value_at(record, columns[0].key)), limit=None)
