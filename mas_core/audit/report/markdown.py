"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mas_core.audit.report.document import Control, Gap, Measure, Report, Standard, Table
from mas_core.audit.report.plain_text import for_markdown as text
from mas_core.audit.report.plain_text import number


def markdown(report: Report) -> str:
    """The whole report."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    names = ", ".join(item.title for item in report.standards)
    yield f"# Audit report: records that support {text(names)}"
    yield ""
    yield from _table(
        ("", ""),
        (
            ("System", report.system),
            (
                "Period",
                f"{report.period}: {report.since} to {report.until}{'' if report.is_over else ' (not over)'}",
            ),
            ("Made", f"{report.generated} by {report.by or 'unknown'}"),
            ("Records", report.records),
            (
                "Messages",
                f"{report.messages}: {report.delivered} delivered, {report.refused} refused",
            ),
            ("Findings", report.findings),
            ("Integrity", intact(report)),
            ("Gaps", len(report.gaps())),
        ),
    )
    yield ""
    yield report.words
    yield ""
    yield "## Gaps"
    yield ""
    for gap in report.gaps():
        yield _gap(gap)
        yield f"  Concerns {concerns(report, gap)}."
    if not report.gaps():
        yield "None was found by what was measured; each control below names what is not measured."
    for item in report.standards:
        yield ""
        yield from _standard(report, item)
    yield ""
    yield "## Measures"
    for found in report.measures.values():
        yield ""
        yield from _measure(found)
    if report.silences:
        yield ""
        yield "## Stretches without any record"
        yield ""
        yield from _table(("from", "to"), [(item.start, item.end) for item in report.silences])


def intact(report: Report) -> str:
    """What verification said, in words."""
    if report.is_intact is None:
        return "not verified"
    return "every chain holds" if report.is_intact else "broken; see the gaps"


def concerns(report: Report, gap: Gap) -> str:
    """The controls that a gap concerns, standard by standard."""
    return "; ".join(f"{title} {', '.join(ids)}" for title, ids in report.concerns(gap))


def _standard(report: Report, item: Standard) -> Iterator[str]:
    yield f"## {text(item.title)}"
    yield ""
    yield f"{text(item.edition)}. <{item.source}>"
    yield ""
    yield text(item.scope)
    yield ""
    yield from _table(
        ("control", "title", "gaps"),
        [
            (control.id, control.title, len(report.gaps_of(item, control)) or "none")
            for control in item.controls
        ],
    )
    for control in item.controls:
        yield ""
        yield from _control(report, item, control)
    yield ""
    yield f"### What {text(item.title)} asks for and nothing here speaks to"
    yield ""
    for line in item.outside:
        yield f"- {text(line)}"


def _control(report: Report, item: Standard, control: Control) -> Iterator[str]:
    yield f"### {text(control.id)} {text(control.title)}"
    yield ""
    yield f"Asks: {text(control.asks)}"
    yield ""
    yield from _table(
        ("measure", "in this period"),
        [
            (
                report.measures[name].title,
                "; ".join(f"{item.label}: {item.value}" for item in report.measures[name].figures),
            )
            for name in control.measures
        ],
    )
    yield ""
    for gap in report.gaps_of(item, control):
        yield _gap(gap)
    for line in control.not_covered:
        yield f"- Not covered: {text(line)}"
    yield ""
    yield "Evidence: " + ", ".join(f"`{command}`" for command in control.evidence)


def _gap(gap: Gap) -> str:
    fix = "; " + ", ".join(f"`{command.replace('`', '')}`" for command in gap.fix) if gap.fix else ""
    return f"- **Gap:** {text(gap.text)}{fix}"


def _measure(found: Measure) -> Iterator[str]:
    yield f"### {text(found.title)}"
    yield ""
    yield from _table(("figure", ""), [(figure.label, figure.value) for figure in found.figures])
    if found.table is not None and found.table.rows:
        yield ""
        yield from _shown(found.table)


def _shown(table: Table) -> Iterator[str]:
    yield from _table(table.columns, table.rows)
    if table.note:
        yield ""
        yield text(table.note) + "."


def _table(columns: tuple[str, ...], rows: Sequence[Sequence[int | str]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(text(number(cell), 600) for cell in row) + " |"
