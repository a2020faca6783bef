"""The report as data: what JSON shows, and what Markdown and HTML are written from."""

from __future__ import annotations

import msgspec

SCHEMA = "mas.audit.report/1"


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was counted or found out."""

    label: str
    value: int | str


class Gap(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that the records of this period do not show, although a control needs it."""

    text: str
    fix: tuple[str, ...] = ()
    """Commands that close it, or settings."""
    only: str = ""
    """Name of the standard that it concerns alone."""


class Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows that belong to a measure."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int | str, ...], ...]
    note: str = ""
    """What is not in it."""


class Measure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What this system did about one thing in the period."""

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    gaps: tuple[Gap, ...] = ()
    table: Table | None = None


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
    """A control of a standard, with the measures that support it."""

    id: str
    title: str
    asks: str
    """What the standard asks for, in our words."""
    measures: tuple[str, ...]
    """Names of measures of the report."""
    evidence: tuple[str, ...]
    """Where an auditor finds the records: commands."""
    not_covered: tuple[str, ...]
    """What these records do not show, whatever they say."""


class Standard(msgspec.Struct, frozen=True, omit_defaults=True):
    """The controls of a standard that this system can support."""

    name: str
    title: str
    edition: str
    source: str
    scope: str
    controls: tuple[Control, ...]
    outside: tuple[str, ...]
    """What the standard asks for beyond these controls and nothing here speaks to."""
    keep_days: int = 0
    """For how long it wants records of this kind kept; 0 when it does not say."""
    hot_days: int = 0
    """For how long it wants them at hand."""


class Stretch(msgspec.Struct, frozen=True):
    """One bar of the plot over time."""

    start: str
    """RFC 3339."""
    delivered: int
    held: int
    refused: int
    others: int


class Silence(msgspec.Struct, frozen=True):
    """A stretch of the period without any record."""

    start: str
    end: str
    before_first: bool = False
    """It lies before the first record of the period."""


class Report(msgspec.Struct, frozen=True):
    """A whole report."""

    schema: str
    words: str
    """What this report says and what it does not."""
    system: str
    by: str
    generated: str
    period: str
    since: str
    until: str
    is_over: bool
    """Whether the period had ended when the report was made."""
    records: int
    messages: int
    delivered: int
    refused: int
    findings: int
    is_intact: bool | None
    """Whether every chain verified; None when that could not be found out."""
    stretch_s: int
    """Length of one bar of the plot over time, in seconds."""
    over_time: tuple[Stretch, ...]
    refused_by_decision: tuple[tuple[str, int], ...]
    """Messages that were refused or held, most frequent first."""
    findings_by_rule: tuple[tuple[str, int], ...]
    silences: tuple[Silence, ...]
    measures: dict[str, Measure]
    standards: tuple[Standard, ...]

    def gaps_of(self, item: Standard, control: Control) -> list[Gap]:
        """The gaps of the measures that a control of a standard rests on."""
        found = (gap for name in control.measures for gap in self.measures[name].gaps)
        return list(dict.fromkeys(gap for gap in found if gap.only in {"", item.name}))

    def gaps(self) -> list[Gap]:
        """The gaps of all controls, each once."""
        every = (self.gaps_of(item, control) for item in self.standards for control in item.controls)
        return list(dict.fromkeys(gap for gaps in every for gap in gaps))

    def concerns(self, gap: Gap) -> list[tuple[str, list[str]]]:
        """Titles of the standards that a gap concerns, each with the ids of its controls."""
        found = [
            (item.title, [control.id for control in item.controls if gap in self.gaps_of(item, control)])
            for item in self.standards
        ]
        return [(title, ids) for title, ids in found if ids]
