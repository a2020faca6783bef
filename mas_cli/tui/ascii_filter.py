"""Signs and lines that every terminal can draw, in place of those of this program: MAS_TUI_ASCII=1."""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SIGNS: Final = {
    "─━═╌╍╴╸╺╶": "-", "│┃║╎╏": "|", "╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛╔╗╚╝": "+",
    "█▓▉▊▋▇▆": "#", "▅▄": "=", "▃▂▁▔▀": "-", "░▒": ".", "▌▍▎▏▐▕▖▗▘▙▛▜▝▟": " ",
    "✓": "+", "✗": "x", "⚠⛨": "!", "·": ".", "●•": "*", "…": "~", "→▸▶": ">", "←◂◀": "<", "▾▼": "v", "▴▲": "^",
    "µ": "u",
}  # fmt: skip
"""Each stands for a sign of the same width, so that nothing moves."""
PLAIN_SIGNS: Final = str.maketrans({sign: plain for signs, plain in _SIGNS.items() for sign in signs})


class AsciiFilter(LineFilter):
    """Replaces signs in whatever is drawn, wherever it comes from."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - of Textual
        """The same line in plain signs."""
        return [
            segment if segment.text.isascii() else Segment(segment.text.translate(PLAIN_SIGNS), segment.style)
            for segment in segments
        ]
