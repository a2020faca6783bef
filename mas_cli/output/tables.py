"""Tables of text. Cells never wrap; only a terminal's width cuts them, with `…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mas_cli.output.colours import Palette, Style
from mas_cli.output.safe_text import cut, display_width

GAP = "  "
LEAST_WIDTH = 6
"""A column that has to give way keeps at least this."""


class Cell(NamedTuple):
    """Text that is safe to show, and its style."""

    text: str
    style: Style | None = None


class Layout(NamedTuple):
    """How one column is laid out."""

    title: str
    right: bool = False
    flexible: bool = False
    whole: bool = False
    """Cut only when nothing else is left to cut."""
    least: int = 0
    """Take at least this width, whatever the cells hold."""
    fixed: bool = False
    """Take the least width and no more: rows to come have to stand below this one."""


def table(
    layouts: Sequence[Layout],
    rows: Sequence[Sequence[Cell]],
    *,
    headers: bool = True,
    width: int | None = None,
    palette: Palette,
) -> list[str]:
    """The lines of a table; `width` is the terminal's, None when nothing may be cut."""
    titles = [Cell(layout.title, "bold") for layout in layouts]
    lines = [titles, *rows] if headers else list(rows)
    widths = [
        max(
            layout.least,
            *(0 if layout.fixed else display_width(line[index].text) for line in lines),
        )
        for index, layout in enumerate(layouts)
    ]
    if width is not None:
        widths = fitted(widths, [2 * layout.flexible - layout.whole for layout in layouts], width)
        if layouts[-1].fixed:
            widths[-1] += max(0, width - sum(widths) - len(GAP) * (len(widths) - 1))
    return [_line(line, layouts, widths, palette) for line in lines]


def natural_width(layouts: Sequence[Layout], rows: Sequence[Sequence[Cell]]) -> int:
    """How wide a table is in which nothing is cut."""
    lines = [[layout.title for layout in layouts], *([cell.text for cell in row] for row in rows)]
    widths = (max(map(display_width, column)) for column in zip(*lines, strict=True))
    return sum(widths) + len(GAP) * (len(layouts) - 1)


def fitted(widths: Sequence[int], give_way: Sequence[int], width: int) -> list[int]:
    """`widths` made narrower until they fit `width`.

    Args:
        widths: Of each column.
        give_way: Of each column: the higher, the sooner it is cut; of equal ones the widest comes first.
        width: That of all with the gaps between them.
    """
    fitting = list(widths)
    excess = sum(fitting) + len(GAP) * (len(fitting) - 1) - width
    for rank in sorted(set(give_way), reverse=True):
        candidates = [index for index, own in enumerate(give_way) if own >= rank]
        while excess > 0:
            widest = max(candidates, key=fitting.__getitem__, default=None)
            if widest is None or fitting[widest] <= LEAST_WIDTH:
                break
            fitting[widest] -= 1
            excess -= 1
    return fitting


def fields(pairs: Sequence[tuple[str, Cell]], *, width: int | None = None, palette: Palette) -> list[str]:
    """One record as lines of name and value."""
    name_width = max((display_width(name) for name, _ in pairs), default=0)
    room = None if width is None else max(LEAST_WIDTH, width - name_width - len(GAP))
    lines = []
    for name, value in pairs:
        text = value.text if room is None else cut(value.text, room)
        padding = " " * (name_width - display_width(name))
        shown = palette.paint(text, value.style) if value.style else text
        lines.append(f"{palette.paint(name, 'bold')}{padding}{GAP}{shown}".rstrip())
    return lines


def _line(cells: Sequence[Cell], layouts: Sequence[Layout], widths: Sequence[int], palette: Palette) -> str:
    parts = []
    last = len(cells) - 1
    for index, (cell, layout, width) in enumerate(zip(cells, layouts, widths, strict=True)):
        text = cut(cell.text, width)
        padding = " " * (width - display_width(text))
        shown = palette.paint(text, cell.style) if cell.style else text
        if layout.right:
            parts.append(padding + shown)
        else:
            parts.append(shown if index == last else shown + padding)
    return GAP.join(parts).rstrip()
