"""Plots of the report as inline SVG, without scripts; colours are those of the page.

Each plot is drawn for a wide and for a narrow page, so that labels stay readable; the page shows one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from mas_core.audit.report.document import Report, Stretch
from mas_core.audit.report.plain_text import for_html, number, visible

WIDE: Final = 920
NARROW: Final = 350
_HEIGHT: Final = 240
_TOP: Final = 16
_BOTTOM: Final = 44
_LEFT: Final = 56
_RIGHT: Final = 8
_BAR_HEIGHT: Final = 22
_CHARACTER: Final = 7.2
"""About the width of a character of a label."""


class Scale(NamedTuple):
    """An axis from 0 to `top` with a line at each multiple of `step`."""

    top: int
    step: int


def scale_for(highest: int) -> Scale:
    """An axis for numbers up to `highest`, with three to six round steps."""
    rough = max(1, highest) / 4
    power = 10 ** max(0, math.floor(math.log10(rough))) if rough >= 1 else 1
    step = next(int(power * factor) for factor in (1, 2, 5, 10) if power * factor * 5 >= max(1, highest))
    return Scale(step * max(1, math.ceil(max(1, highest) / step)), step)


def both(draw: Sequence[str]) -> str:
    """A wide and a narrow drawing, of which the page shows one."""
    wide, narrow = draw
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


def over_time(report: Report) -> str:
    """Messages over time, by what became of them; stretches without any record are hatched."""
    return both([_over_time(report, width) for width in (WIDE, NARROW)])


def _over_time(report: Report, width: int) -> str:
    stretches = report.over_time
    scale = scale_for(max((_messages(item) for item in stretches), default=0))
    inner, plot = width - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    begin, end = _seconds(report.since), _seconds(report.until)
    first = _seconds(stretches[0].start) if stretches else begin
    span = max(end, first + report.stretch_s * len(stretches)) - first or 1

    def x(second: float) -> float:
        return _LEFT + inner * min(1.0, max(0.0, (second - first) / span))

    def y(count: float) -> float:
        return _TOP + plot * (1 - count / scale.top)

    hatch = f"hatch{width}"
    parts = [
        f'<svg viewBox="0 0 {width} {_HEIGHT}" role="img" aria-label="Messages over time">',
        f'<defs><pattern id="{hatch}" width="6" height="6" patternUnits="userSpaceOnUse"',
        ' patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" class="hatch"/></pattern></defs>',
    ]
    for level in range(0, scale.top + 1, scale.step):
        parts.append(
            f'<line x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}" class="grid"/>'
        )
        parts.append(f'<text x="{_LEFT - 6}" y="{y(level) + 4:.1f}" class="end">{number(level)}</text>')
    for silence in report.silences:
        left, right = x(_seconds(silence.start)), x(_seconds(silence.end))
        parts.append(
            f'<rect x="{left:.1f}" y="{_TOP}" width="{max(1.0, right - left):.1f}" height="{plot}" '
            f'fill="url(#{hatch})"><title>no record from {silence.start} to {silence.end}</title></rect>'
        )
    bar = max(1.0, x(first + report.stretch_s) - x(first))
    gap = 1.0 if bar > 4 else 0.2
    for item in stretches:
        parts.extend(_bar(item, x(_seconds(item.start)), bar - gap, y))
    for second, label in _ticks(first, first + span, 9 if width == WIDE else 3):
        parts.append(
            f'<line x1="{x(second):.1f}" x2="{x(second):.1f}" '
            f'y1="{_TOP + plot}" y2="{_TOP + plot + 4}" class="axis"/>'
        )
        anchor = "start" if x(second) < _LEFT + 20 else "end" if x(second) > width - 40 else "middle"
        parts.append(
            f'<text x="{x(second):.1f}" y="{_TOP + plot + 17}" text-anchor="{anchor}">{label}</text>'
        )
    parts.append(
        f'<line x1="{_LEFT}" x2="{width - _RIGHT}" y1="{_TOP + plot}" y2="{_TOP + plot}" class="axis"/>'
    )
    parts.append(
        f'<text x="{_LEFT + inner / 2:.0f}" y="{_HEIGHT - 6}" class="title" text-anchor="middle">'
        f"time, UTC; one bar is {_length(report.stretch_s)}</text>"
        f'<text transform="translate(11 {_TOP + plot / 2:.0f}) rotate(-90)" class="title" text-anchor="middle">'
        "messages</text></svg>"
    )
    return "".join(parts)


def _bar(item: Stretch, left: float, width: float, y: Callable[[float], float]) -> Iterator[str]:
    below = 0
    if not _messages(item):
        return
    for kind in ("delivered", "held", "refused"):
        count = getattr(item, kind)
        if count:
            top, bottom = y(below + count), y(below)
            yield (
                f'<rect x="{left:.1f}" y="{min(top, bottom - 1):.1f}" width="{width:.1f}" '
                f'height="{max(1.0, bottom - top):.1f}" class="{kind}">'
                f"<title>{item.start}: {number(count)} {kind}</title></rect>"
            )
        below += count


def bars(title: str, unit: str, rows: Sequence[tuple[str, int]], kind: str) -> str:
    """Counts of names as horizontal bars, longest first.

    Args:
        title: What is counted.
        unit: Of the axis.
        rows: Names with counts.
        kind: Class of the bars, which gives them their colour.
    """
    return both([_bars(title, unit, rows, kind, width) for width in (WIDE // 2 - 20, NARROW)])


def _bars(title: str, unit: str, rows: Sequence[tuple[str, int]], kind: str, width: int) -> str:
    scale = scale_for(max(count for _, count in rows))
    longest = max(len(name) for name, _ in rows)
    room = min(22, longest)
    left = 10 + room * _CHARACTER
    right = 18 + _CHARACTER * len(number(max(count for _, count in rows)))
    inner = width - left - right
    height = len(rows) * _BAR_HEIGHT + 42
    bottom = len(rows) * _BAR_HEIGHT + 4
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{for_html(title)}">']
    lines = range(0, scale.top + 1, scale.step)
    every = 1 if len(lines) * (_CHARACTER * len(number(scale.top)) + 12) < inner else len(lines) - 1
    for index, level in enumerate(lines):
        at = left + inner * level / scale.top
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="{bottom}" class="grid"/>')
        if index % every == 0:
            parts.append(f'<text x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{number(level)}</text>')
    for index, (name, count) in enumerate(rows):
        middle = index * _BAR_HEIGHT + _BAR_HEIGHT / 2 + 2
        long = inner * count / scale.top
        parts.append(
            f'<text x="{left - 6:.0f}" y="{middle + 4:.1f}" class="end">{for_html(_cut(name, room))}</text>'
            f'<rect x="{left:.1f}" y="{middle - 7:.1f}" width="{max(1.0, long):.1f}" height="14" class="{kind}">'
            f"<title>{for_html(name)}: {number(count)}</title></rect>"
            f'<text x="{left + long + 5:.1f}" y="{middle + 4:.1f}">{number(count)}</text>'
        )
    parts.append(f'<line x1="{left:.1f}" x2="{left:.1f}" y1="2" y2="{bottom}" class="axis"/>')
    parts.append(
        f'<text x="{left + inner / 2:.0f}" y="{height - 8}" class="title" text-anchor="middle">'
        f"{for_html(unit)}</text></svg>"
    )
    return "".join(parts)


def _cut(name: str, room: int) -> str:
    shown = visible(name)
    return shown if len(shown) <= room else shown[: room - 1] + "…"


def _messages(item: Stretch) -> int:
    return item.delivered + item.held + item.refused


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _length(seconds: int) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{seconds} s"


def _ticks(first: float, last: float, most: int) -> Iterator[tuple[float, str]]:
    """Round moments between two, at most about `most`, with what to write under them."""
    span = last - first
    begin = datetime.fromtimestamp(first, UTC)
    if span > 86400 * 14 * most:
        months = max(1, math.ceil(span / 86400 / 30.5 / most))
        months = next((item for item in (1, 2, 3, 6, 12, 24, 60, 120) if item >= months), months)
        number_of = begin.year * 12 + begin.month - 1
        number_of += -number_of % months
        while True:
            moment = datetime(number_of // 12, number_of % 12 + 1, 1, tzinfo=UTC)
            if moment.timestamp() > last:
                return
            if moment >= begin:
                yield moment.timestamp(), f"{moment:%b %Y}" if months < 12 else f"{moment:%Y}"
            number_of += months
    hours = span / 3600 / most
    step = next(
        (item for item in (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 72, 120, 168, 336) if item >= hours), 744.0
    )
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    label = "%d %b" if step >= 24 else "%d %b %H:%M" if span > 86400 else "%H:%M"
    moment = midnight
    while moment.timestamp() <= last:
        if moment >= begin:
            yield moment.timestamp(), f"{moment:{label}}"
        moment += timedelta(hours=step)
