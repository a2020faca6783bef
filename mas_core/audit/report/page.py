"""The report as one HTML page: no scripts, nothing loaded from anywhere, and nothing in it that could be."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from mas_core.audit.report import plots
from mas_core.audit.report.document import Control, Figure, Gap, Measure, Report, Standard, Table
from mas_core.audit.report.markdown import concerns
from mas_core.audit.report.plain_text import for_html as text
from mas_core.audit.report.plain_text import number, visible

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_MARK: Final = re.compile(r"[0-9a-f]{32,}")
_BARS: Final = 12


@cache
def _style() -> str:
    return Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def page(report: Report) -> str:
    """The whole report."""
    return "\n".join(_parts(report)) + "\n"


def _parts(report: Report) -> Iterator[str]:
    names = _names([item.title for item in report.standards])
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield (
        '<meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">"
    )
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{text(f'{report.system}: records that support {names}, {report.period}')}</title>"
    yield f"<style>{style}</style>\n</head>\n<body>\n<header>"
    yield '<p class="kicker">Audit report</p>'
    yield f"<h1>Records that support {text(names)}</h1>"
    over = "" if report.is_over else ' <span class="faint">(not over yet)</span>'
    yield '<dl class="meta">'
    yield f"<dt>System</dt><dd>{text(report.system)}</dd>"
    yield f"<dt>Period</dt><dd>{text(report.period)}: {_moment(report.since)} to {_moment(report.until)}{over}</dd>"
    yield f"<dt>Made</dt><dd>{_moment(report.generated)} by {text(report.by or 'unknown')}</dd>"
    yield "</dl>"
    yield f'<p class="words">{text(report.words)}</p>\n</header>'
    yield from _tiles(report)
    yield '<nav aria-label="Contents"><ul><li><a href="#gaps">Gaps</a></li>'
    yield '<li><a href="#activity">Activity</a></li>'
    for item in report.standards:
        yield f'<li><a href="#{item.name}">{text(item.title)}</a></li>'
    yield '<li><a href="#measures">All figures</a></li></ul></nav>\n<main>'
    yield from _gaps(report)
    yield from _activity(report)
    for item in report.standards:
        yield from _standard(report, item)
    yield '<h2 id="measures">All figures</h2>'
    for found in report.measures.values():
        yield from _measure(found)
    yield "</main>\n<footer>"
    yield f"<p>{text(report.words)}</p>"
    yield f"<p>Times are UTC, by the clock of the store's server. Schema <code>{text(report.schema)}</code>.</p>"
    yield "</footer>\n</body>\n</html>"


def _tiles(report: Report) -> Iterator[str]:
    gaps = len(report.gaps())
    whole = {True: ("good", "intact"), False: ("bad", "broken"), None: ("warn", "not verified")}
    kind, words = whole[report.is_intact]
    tiles = [
        ("", number(report.records), "records"),
        ("", number(report.delivered), "messages delivered"),
        ("", number(report.refused), "messages refused"),
        ("", number(report.findings), "findings in payloads"),
        (kind, words, "integrity of the records"),
        ("warn" if gaps else "good", number(gaps), "gap" if gaps == 1 else "gaps"),
    ]
    yield '<ul class="tiles">'
    for css, value, label in tiles:
        yield f'<li class="{css}"><b>{text(value)}</b><span>{text(label)}</span></li>'
    yield "</ul>"


def _gaps(report: Report) -> Iterator[str]:
    yield '<h2 id="gaps">Gaps</h2>'
    gaps = report.gaps()
    if not gaps:
        yield '<p class="none">None was found by what was measured. Each control names what is not measured.</p>'
        return
    yield "<p>What the records of this period do not show, although controls need it.</p>"
    for gap in gaps:
        yield _gap(gap, about=html.escape(concerns(report, gap)))


def _gap(gap: Gap, about: str = "") -> str:
    named = f'<p class="small">{about}</p>' if about else ""
    fix = ""
    if gap.fix:
        commands = ", ".join(f"<code>{text(command)}</code>" for command in gap.fix)
        fix = f'<p class="small">Next: {commands}</p>'
    return f'<div class="gap"><p><b>Gap</b> {text(gap.text)}</p>{named}{fix}</div>'


def _activity(report: Report) -> Iterator[str]:
    yield '<h2 id="activity">Activity</h2>'
    yield "<figure><figcaption>Messages over time"
    yield '<div class="legend"><span class="delivered"><i>delivered</i></span>'
    yield '<span class="held"><i>held for a person</i></span><span class="refused"><i>refused</i></span>'
    yield '<span class="silent"><i>no record at all</i></span></div></figcaption>'
    yield plots.over_time(report)
    yield "</figure>"
    pairs = [
        ("Refused or held messages, by decision", "messages", _refusals(report), "refused"),
        ("Findings in payloads, by what was found", "findings", _findings(report), "held"),
    ]
    yield '<div class="pair">'
    for title, unit, rows, kind in pairs:
        yield f"<figure><figcaption>{text(title)}</figcaption>"
        yield plots.bars(title, unit, rows, kind) if rows else '<p class="faint">None in this period.</p>'
        yield "</figure>"
    yield "</div>"


def _refusals(report: Report) -> list[tuple[str, int]]:
    return list(report.refused_by_decision)[:_BARS]


def _findings(report: Report) -> list[tuple[str, int]]:
    return list(report.findings_by_rule)[:_BARS]


def _standard(report: Report, item: Standard) -> Iterator[str]:
    yield f'<h2 id="{item.name}" class="standard">{text(item.title)}</h2>'
    yield f'<p class="faint">{text(item.edition)} (<a href="{text(item.source)}">source</a>). '
    yield f"{text(item.scope)}</p>"
    yield "<table><thead><tr><th>control</th><th>title</th><th>gaps</th></tr></thead><tbody>"
    for index, control in enumerate(item.controls):
        gaps = len(report.gaps_of(item, control))
        mark = f'<span class="open">{gaps}</span>' if gaps else '<span class="faint">none</span>'
        yield (
            f'<tr><td><a href="#{item.name}-{index}">{text(control.id)}</a></td>'
            f"<td>{text(control.title)}</td><td>{mark}</td></tr>"
        )
    yield "</tbody></table>"
    for index, control in enumerate(item.controls):
        yield from _control(report, item, control, f"{item.name}-{index}")
    yield f"<h3>What {text(item.title)} asks for and nothing here speaks to</h3><ul>"
    yield from (f"<li>{text(line)}</li>" for line in item.outside)
    yield "</ul>"


def _control(report: Report, item: Standard, control: Control, anchor: str) -> Iterator[str]:
    yield f'<section class="control" id="{anchor}">'
    yield f'<h3><span class="id">{text(control.id)}</span>{text(control.title)}</h3>'
    yield f"<p>{text(control.asks)}</p>"
    for gap in report.gaps_of(item, control):
        yield f'<div class="gap"><p><b>Gap</b> {text(gap.text)}</p></div>'
    yield '<h4>What was recorded in this period</h4><table class="recorded"><tbody>'
    for name in control.measures:
        found = report.measures[name]
        yield f'<tr><th scope="row"><a href="#m-{name}">{text(found.title)}</a></th><td><ul>'
        yield from (f"<li>{text(item.label)} <b>{_value(item.value)}</b></li>" for item in found.figures)
        yield "</ul></td></tr>"
    yield "</tbody></table><h4>Not covered</h4><ul>"
    yield from (f"<li>{text(line)}</li>" for line in control.not_covered)
    yield "</ul><h4>Evidence</h4><p>"
    yield ", ".join(f"<code>{text(command)}</code>" for command in control.evidence)
    yield "</p></section>"


def _measure(found: Measure) -> Iterator[str]:
    yield f'<section class="measure" id="m-{found.name}"><h3>{text(found.title)}</h3>'
    yield from _figures(found.figures)
    if found.table is not None and found.table.rows:
        yield from _table(found.table)
    yield "</section>"


def _figures(figures: Sequence[Figure]) -> Iterator[str]:
    if not figures:
        return
    yield "<table><tbody>"
    for figure in figures:
        yield f'<tr><td>{text(figure.label)}</td><td class="number">{_value(figure.value)}</td></tr>'
    yield "</tbody></table>"


def _table(table: Table) -> Iterator[str]:
    kinds = [_kind([row[index] for row in table.rows]) for index in range(len(table.columns))]
    yield '<div class="scroll"><table class="events"><thead><tr>'
    for name, kind in zip(table.columns, kinds, strict=True):
        yield f'<th class="{kind}">{text(name)}</th>'
    yield "</tr></thead><tbody>"
    for row in table.rows:
        yield "<tr>"
        for name, kind, cell in zip(table.columns, kinds, row, strict=True):
            yield f'<td class="{kind}" data-name="{text(name)}">{_value(cell)}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"
    if table.note:
        yield f'<p class="faint">{text(table.note)}.</p>'


def _kind(cells: Sequence[int | str]) -> str:
    if all(isinstance(cell, int) for cell in cells):
        return "number"
    texts = [str(cell) for cell in cells]
    if all(map(_MOMENT.fullmatch, texts)):
        return "time"
    return "mark" if all(map(_MARK.fullmatch, texts)) else ""


def _value(value: int | str) -> str:
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return _moment(value)
    return text(number(value))


def _moment(moment: str) -> str:
    """A time as people read it, with the exact one beside."""
    shown = visible(moment).replace("T", " ").removesuffix("Z").removesuffix(".000")
    return f'<time datetime="{text(moment)}">{text(shown)}</time>'


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
