"""What can be done to a row: its name, what it costs, the command that does the same, and the doing."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from mas_cli.command_entry import Impact
from mas_cli.output.columns import Record

if TYPE_CHECKING:
    from mas_core.ops.system import System

Answers = Mapping[str, str]
"""What was typed into the dialog, by the names of its questions; `reason` is always there."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that an action needs to know."""

    name: str
    label: str
    default: Callable[[Record], str] = lambda _: ""
    is_required: bool = True
    is_long: bool = False
    """Whether its answer has several lines."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do to the chosen rows."""

    id: str
    label: str
    impact: Impact
    words: Callable[[Record, Answers], tuple[str, ...]]
    """The command that does the same to one row, without `mas`."""
    run: Callable[[System, Record, Answers], Awaitable[str]] | None = None
    """Does it to one row and says what changed, in words; several lines are shown in a window."""
    questions: tuple[Question, ...] = ()
    applies: Callable[[Record], bool] = lambda _: True
    """Whether it is offered for a row."""
    run_all: Callable[[System, Sequence[Record], Answers], Awaitable[str]] | None = None
    """In place of `run`: does it once, for all rows together."""
    go: Callable[[Record, Answers], None] | None = None
    """In place of `run`: changes only what this dashboard shows, and needs no system."""
    about: Callable[[], Sequence[Record]] | None = None
    """What it is done to, in place of the chosen rows."""
    prepare: Callable[[System, Record], Awaitable[Record]] | None = None
    """Fetches what the questions begin with, for one row."""
    preview: Callable[[Record, Answers], Text] | None = None
    """What would change, shown while the questions are answered."""

    def command_line(self, record: Record, answers: Answers) -> str:
        """The command as one would type it."""
        words = [word for word in self.words(record, answers) if word]
        reason = answers.get("reason", "")
        if reason and self.impact != "read":
            words += ["--reason", reason]
        return shlex.join(["mas", *words])
