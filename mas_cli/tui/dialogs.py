"""Windows over the screens: the menu of actions, the question before one, jumps, the palette, and help."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static, TextArea

from mas_cli.output.columns import Record
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell, Layout
from mas_cli.tui.actions import Action, Answers
from mas_cli.tui.widgets.line_table import LineTable, Rows
from mas_cli.tui.widgets.prose import Prose
from mas_cli.tui.widgets.typed_line import TypedLine, TypedLines

SHOWN_ROWS = 8


class Window(ModalScreen[Any]):
    """A window that escape closes."""

    DEFAULT_CSS = """
    Window { align: center middle; background: $background 60%; }
    Window > Vertical {
        width: 78; max-width: 96%; height: auto; max-height: 90%;
        border: round $primary; padding: 0 1; background: $surface;
    }
    Window Input { height: 1; border: none; padding: 0; background: $boost; }
    Window Input:focus { border: none; background: $primary 30%; }
    Window LineTable { height: auto; min-height: 3; max-height: 18; }
    Window Prose { height: auto; max-height: 24; }
    Window #preview { max-height: 10; }
    Window Horizontal { height: auto; align: right middle; margin-top: 1; }
    Window Button { margin-left: 2; }
    Window.-danger > Vertical { border: heavy $error; }
    """
    BINDINGS: ClassVar[list[Any]] = [("escape", "close", "close")]

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)


class ActionMenu(Window):
    """What can be done to the chosen rows; what destroys stands last, below a line.

    Args:
        actions: What is offered.
        what: The rows, in words.
        locked: Why nothing can be changed; empty if something can.
        refused: Ids of actions that the role of whoever works here does not permit.
    """

    def __init__(
        self,
        actions: Sequence[Action],
        what: str,
        *,
        locked: str = "",
        refused: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._actions = sorted(actions, key=lambda action: action.impact == "destroy")
        self._what, self._locked, self._refused = what, locked, refused

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical():
            yield Static(Text(f"{self._what}\n", "bold"))
            if self._locked:
                yield Static(Text(f"{self._locked}\n", "yellow"))
            yield LineTable([Layout("do"), Layout("impact")], empty="nothing can be done here")

    def on_mount(self) -> None:
        """Fill it."""
        table = self.query_one(LineTable)
        table.styles.height = min(18, len(self._actions) + 2)
        table.show(Rows(self._actions, lambda action: action.id, self._cells))
        table.focus()

    def _cells(self, action: Action) -> list[Cell]:
        if (self._locked and action.impact != "read") or action.id in self._refused:
            return [Cell(action.label, "dim"), Cell(action.impact, "dim")]
        is_danger = action.impact == "destroy"
        return [
            Cell(action.label),
            Cell("⚠ destroys" if is_danger else action.impact, "bad" if is_danger else "dim"),
        ]

    @on(LineTable.Opened)
    def _picked(self, event: LineTable.Opened) -> None:
        if self._locked and event.item.impact != "read":
            self.notify(self._locked, severity="warning")
        else:
            self.dismiss(event.item)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the question before an action is about."""

    action: Action
    records: Sequence[Record]
    names: Sequence[str]
    """What the rows are called."""
    context: str
    is_protected: bool


class ActionDialog(Window):
    """What will be done, to what, where, by which command, and why; nothing happens before a yes."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(classes="-danger" if asked.action.impact == "destroy" else "")
        self._asked = asked

    @property
    def _must_type_name(self) -> bool:
        asked = self._asked
        return asked.action.impact == "destroy" and (asked.is_protected or len(asked.names) > 1)

    def compose(self) -> ComposeResult:
        """The question."""
        asked, action = self._asked, self._asked.action
        with Vertical():
            yield Static(Text(f"{action.label}  ·  {safe_text(asked.context, 60)}\n", "bold"))
            yield Static(self._what())
            for question in action.questions:
                yield Static(Text(question.label))
                begun = question.default(asked.records[0])
                name = f"q-{question.name}"
                yield TypedLines(begun, id=name) if question.is_long else TypedLine(begun, id=name)
            if action.impact != "read" and action.go is None:
                yield Static(Text("reason (goes into the audit)"))
                yield TypedLine(id="q-reason")
            if self._must_type_name:
                yield Static(Text(f"type {safe_text(asked.context, 60)} to confirm", "bold"))
                yield TypedLine(id="confirm")
            if action.preview is not None:
                yield Prose(id="preview")
            yield Static(Text(), id="command")
            yield Static(Text(), id="missing")
            with Horizontal():
                yield Button("Cancel", id="no", compact=True)
                yield Button(action.label, id="yes", compact=True,
                             variant="error" if action.impact == "destroy" else "primary")  # fmt: skip

    def on_mount(self) -> None:
        """Start where something has to be typed; else at the button that does nothing."""
        found = self._fields
        (found[0] if self._asked.action.questions else self.query_one("#no")).focus()
        self._show_command()

    def _what(self) -> Text:
        names = self._asked.names
        shown = "\n".join(f"  {safe_text(name, 70)}" for name in names[:SHOWN_ROWS])
        more = f"\n  … and {len(names) - SHOWN_ROWS} more" if len(names) > SHOWN_ROWS else ""
        count = f"{len(names)} of them:\n" if len(names) > 1 else ""
        return Text(count + shown + more + "\n", no_wrap=True)

    @property
    def answers(self) -> dict[str, str]:
        """What was typed."""
        found = {"reason": ""}
        for field in self._fields:
            if field.id and field.id.startswith("q-"):
                found[field.id[2:]] = (field.text if isinstance(field, TextArea) else field.value).strip()
        return found

    @property
    def _fields(self) -> list[Input | TextArea]:
        return [field for field in self.query("*") if isinstance(field, (Input, TextArea))]

    @on(Input.Changed)
    @on(TextArea.Changed)
    def _show_command(self) -> None:
        text = Text("\n", no_wrap=False)
        answers: Answers = self.answers
        lines = [self._asked.action.command_line(record, answers) for record in self._asked.records[:3]]
        shown = "\n".join(f"$ {safe_text(line, 400)}" for line in dict.fromkeys(lines))
        text.append(shown, "dim")
        self.query_one("#command", Static).update(text)
        if self._asked.action.preview is not None:
            changes = self._asked.action.preview(self._asked.records[0], answers)
            self.query_one("#preview", Prose).say(changes)

    @on(Input.Submitted)
    def _next(self, event: Input.Submitted) -> None:
        fields = self._fields
        place = fields.index(event.input) + 1
        (fields[place] if place < len(fields) else self.query_one("#yes")).focus()

    @on(Button.Pressed, "#no")
    def _no(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#yes")
    def _yes(self) -> None:
        answers = self.answers
        for question in self._asked.action.questions:
            if question.is_required and not answers.get(question.name):
                self._say_missing(f"{question.label} is needed")
                return
        if self._must_type_name and self.query_one("#confirm", Input).value != self._asked.context:
            self._say_missing(f"type {safe_text(self._asked.context, 60)} to go on")
            return
        self.dismiss(answers)

    def _say_missing(self, text: str) -> None:
        self.query_one("#missing", Static).update(Text(text, "yellow"))


class Palette(Window):
    """Go to a screen or a thing by its name: `:agent tutor`, `:trace ID`, `:dead`."""

    def __init__(self, places: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._places = places
        self._typed_early = ""

    def compose(self) -> ComposeResult:
        """A line to type in and what fits."""
        with Vertical():
            yield TypedLine(placeholder="go to: a screen, agent NAME, trace ID …")
            yield LineTable([Layout("go to"), Layout("what", flexible=True)])

    def on_mount(self) -> None:
        """Start typing."""
        self.query_one(LineTable).styles.height = 14
        self._narrow("")
        line = self.query_one(Input)
        line.value = self._typed_early
        self.set_focus(line)
        line.action_end()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._narrow(event.value)

    def _narrow(self, text: str) -> None:
        wanted = text.casefold().split()
        found = [
            place for place in self._places if all(word in " ".join(place).casefold() for word in wanted)
        ]
        self.query_one(LineTable).show(
            Rows(
                found,
                lambda place: place[0],
                lambda place: [Cell(safe_text(place[0])), Cell(safe_text(place[1]), "dim")],
            )
        )

    def on_key(self, event: Key) -> None:
        """The arrows choose while the line is typed in; what comes before there is one is kept for it."""
        if self.focused is None and event.is_printable and event.character:
            self._typed_early += event.character
            event.stop()
        elif event.key in ("up", "down"):
            self.query_one(LineTable).move(1 if event.key == "down" else -1)
            event.stop()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        chosen = self.query_one(LineTable).item
        typed = event.value.strip()
        # What was typed in full goes even where no list knows it: a message id, an agent that a filter hides.
        is_free = typed.partition(" ")[0] in ("agent", "trace", "audit", "filter") and " " in typed
        self.dismiss(typed if is_free or chosen is None else chosen[0])

    @on(LineTable.Opened)
    def _opened(self, event: LineTable.Opened) -> None:
        self.dismiss(event.item[0])


class ReadWindow(Window):
    """Something to read."""

    BINDINGS: ClassVar[list[Any]] = [("escape,q,question_mark", "close", "close")]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """The text."""
        with Vertical():
            yield Static(Text(f"{self._title}\n", "bold"))
            yield Prose()

    def on_mount(self) -> None:
        """Show it."""
        self.query_one(Prose).say(self._text)
        self.query_one(Prose).focus()
