"""Trace: the story of one message, and where its time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input

from mas_cli.output.columns import Record
from mas_cli.output.safe_text import safe_text
from mas_cli.output.stage_bars import one_trace_lines
from mas_cli.output.trace_lines import hop_record, tree_lines, waterfall_lines
from mas_cli.tui.pane import Pane
from mas_cli.tui.widgets.prose import Prose, heading, json_lines, painted_lines
from mas_cli.tui.widgets.typed_line import TypedLine
from mas_core.errors import MasError

if TYPE_CHECKING:
    from mas_core.ops.system import System
    from mas_core.ops.trace import Hop


class Trace(Pane):
    """An id to type or paste, and its story."""

    title: ClassVar[str] = "Trace"
    about: ClassVar[str] = (
        "One message from its sender to the last reply: decisions, attempts, times, what it caused."
    )
    filter_label: ClassVar[str] = "id"
    hints: ClassVar[tuple[tuple[str, str], ...]] = (("row.json", "as JSON"), ("view.next", "id or story"))
    every: ClassVar[float] = 2.0
    DEFAULT_CSS = """
    Trace Input { height: 1; border: none; padding: 0 1; background: $boost; }
    Trace Input:focus { border: none; background: $primary 30%; }
    """

    def compose(self) -> ComposeResult:
        """The id and the story."""
        yield TypedLine(
            placeholder="id of a message, or enter on a row of Live, Dead or Audit", id="trace-id"
        )
        with Vertical(classes="titled"):
            yield Prose(id="story")

    def on_mount(self) -> None:
        """No message yet."""
        self._message_id = ""
        self._hop: Hop | None = None
        self._problem = ""
        self._asked = ""

    @property
    def home(self) -> Widget | None:
        """The story, so that keys are keys; `begin_typing` leads to the id."""
        return self.part("#story", Prose)

    def begin_typing(self) -> None:
        """To the line with the id."""
        line = self.part("#trace-id", Input)
        self.screen.set_focus(line)
        line.action_end()

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted anywhere here is an id."""
        if event.text.strip() and not isinstance(self.app.focused, Input):
            self.go_to(event.text.split()[0])

    def go_to(self, name: str) -> bool:
        """Show another message."""
        self._message_id, self._hop, self._problem = name.strip(), None, ""
        self.part("#trace-id", Input).value = self._message_id
        self.dashboard.reload()
        self.part("#story", Prose).focus()
        return True

    @on(Input.Submitted, "#trace-id")
    def _typed(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.go_to(event.value)

    async def load(self, system: System) -> None:
        """Look again: more may have come of it."""
        from mas_core.ops import trace as traces
        from mas_core.ops.audit_questions import note_question

        wanted = self._message_id
        if not wanted:
            return
        try:
            if wanted != self._asked:
                await note_question(system, "trace", {"id": wanted})
                self._asked = wanted
            found = await traces.trace(system, wanted)
        except MasError as error:
            self._problem = error.message
            return
        if wanted == self._message_id:
            self.take_story(found)

    def take_story(self, found: Hop) -> None:
        """Show this one."""
        self._message_id, self._hop, self._problem = self._message_id or found.id, found, ""

    def draw(self) -> None:
        """Show the tree and the waterfall."""
        text = Text()
        if self._hop is not None:
            text.append_text(heading(safe_text(f"{self._hop.status}  {self._hop.id}", 200)))
            text.append_text(painted_lines(tree_lines(self._hop)))
            text.append_text(heading("\nwhere the time went"))
            width = max(40, self.size.width - 6)
            text.append_text(
                painted_lines(waterfall_lines(self._hop, width, ascii_only=self.dashboard.is_ascii))
            )
            if self._hop.stages_us:
                text.append_text(heading("\nwhat the stages took"))
                bars = one_trace_lines(self._hop.stages_us, width, ascii_only=self.dashboard.is_ascii)
                text.append_text(painted_lines(bars))
        elif self._problem:
            text.append(safe_text(self._problem, 300), "yellow")
        elif self._message_id:
            text.append("looking …", "dim")
        else:
            text.append("/ and an id, or paste it; ", "dim")
            text.append("enter on a row of Live, Dead or Audit brings it here\n", "dim")
        self.part("#story", Prose).say(text)

    def crumbs(self) -> list[str]:
        """The id."""
        return [self._message_id] if self._message_id else []

    def as_json(self) -> tuple[str, Text] | None:
        """All that is known of it."""
        if self._hop is None:
            return None
        record: Record = hop_record(self._hop)
        return self._hop.id, json_lines(record)
