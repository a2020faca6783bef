"""The one writer to standard error: notes, warnings, questions and errors."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from math import ceil
from typing import TextIO

from mas_cli.output.colours import Palette
from mas_cli.output.columns import cell
from mas_cli.output.documents import json_text
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.refusals import said_once
from mas_cli.output.safe_text import display_width, safe_text
from mas_core.errors import Forbidden, MasError
from mas_core.settings.masking import without_known_secrets

HEADLINE_WIDTH = 72
"""The error code stands behind this column, so that several errors line up, where the terminal is wide enough."""

_LEADING_DETAILS = ("because", "closest")


class Diagnostics:
    """Standard error.

    Args:
        quiet: Say nothing but warnings and errors.
        verbosity: How many times -v was given.
        json_errors: Write an error as one line of JSON.
        width: Columns of the terminal; None when this is not a terminal.
    """

    def __init__(
        self,
        stream: TextIO,
        palette: Palette,
        *,
        quiet: bool = False,
        verbosity: int = 0,
        json_errors: bool = False,
        debug: bool = False,
        width: int | None = None,
    ) -> None:
        self._stream = stream
        self._palette = palette
        self._quiet = quiet
        self._verbosity = verbosity
        self._json_errors = json_errors
        self._debug = debug
        self.is_terminal = width is not None
        """Whether a person sees this."""
        self._width = width
        self._has_progress = False

    def say(self, text: str) -> None:
        """What was done and how to undo it; not with -q."""
        if not self._quiet:
            self._write(safe_text(text))

    def count(self, text: str) -> None:
        """A count or a timing: for people, so only on a terminal or with -v."""
        if (self.is_terminal or self._verbosity) and not self._quiet:
            self._write(self._palette.paint(safe_text(text), "dim"))

    def detail(self, text: str, level: int = 1) -> None:
        """What only -v (or, at level 2, -vv) shows."""
        if self._verbosity >= level:
            self._write(self._palette.paint(safe_text(text), "dim"))

    def warn(self, text: str) -> None:
        """What has to be known whatever the flags say."""
        self._write(f"{self._palette.paint('mas: warning:', 'warn')} {safe_text(text)}")

    def ask(self, question: str) -> None:
        """A question, without a line end."""
        self._write(safe_text(question), end=" ")

    def end_line(self) -> None:
        """After the ^C that a terminal shows, what follows begins on a line of its own."""
        if self.is_terminal:
            self._write("")

    def progress(self, text: str) -> None:
        """How far something is: the next one replaces it on a terminal; an empty one takes it away."""
        if self._quiet or (not text and not self._has_progress):
            return
        if not self.is_terminal:
            self._write(safe_text(text))
            return
        self._write(f"\r\x1b[K{self._palette.paint(safe_text(text), 'dim')}", end="")
        self._has_progress = bool(text)

    def error(self, error: MasError, code: ExitCode) -> None:
        """One error, as a block for people or a line for programs."""
        if self._json_errors:
            self._write(error_line(error, code))
        else:
            self._block(error, code)
        if self._debug:
            self._write("".join(traceback.format_exception(error)).rstrip())

    def _block(self, error: MasError, code: ExitCode) -> None:
        told = said_once(error.message) if isinstance(error, Forbidden) else error.message
        first, *further = told.splitlines() or [""]
        headline = f"mas: {code.label}: {safe_text(first)}"
        error_code = f"[{safe_text(error.code)}]"
        column = HEADLINE_WIDTH if self._width is None else min(HEADLINE_WIDTH, self._width - len(error_code))
        padding = " " * max(2, column - display_width(headline))
        paint = self._palette.paint
        self._write(f"{paint(headline, 'bad')}{padding}{paint(error_code, 'dim')}")
        for line in further:
            self._write(f"           {safe_text(line)}")
        for name in _LEADING_DETAILS:
            # what is to be tried stands below
            said = (said_once(line) for line in _listed(error.details.get(name)) if line not in error.hint)
            self._labelled(name, said)
        if isinstance(seconds := error.details.get("retry_after"), int | float) and seconds > 0:
            self._labelled("wait", [cell(max(1, ceil(seconds)), "duration")])
        self._labelled("try", (line for hint in error.hint for line in hint.splitlines()))

    def _labelled(self, label: str, lines: Iterable[str]) -> None:
        for index, line in enumerate(lines):
            name = label if index == 0 else ""
            self._write(f"  {self._palette.paint(f'{name:<8}', 'dim')} {safe_text(line)}")

    def _write(self, text: str, end: str = "\n") -> None:
        try:
            self._stream.write(without_known_secrets(text).encode(errors="backslashreplace").decode() + end)
            self._stream.flush()
        except (OSError, ValueError):
            # nobody listens to talk; the exit code still tells
            return


def error_line(error: MasError, code: ExitCode) -> str:
    """`error` as one line of JSON."""
    return json_text(
        {
            "error": {
                "code": error.code,
                "message": error.message,
                "hint": list(error.hint),
                "details": error.details,
                "exit": int(code),
            }
        }
    )


def _listed(value: object) -> list[str]:
    match value:
        case None | "":
            return []
        case list() | tuple():
            return [str(item) for item in value]
        case _:
            return [str(value)]
