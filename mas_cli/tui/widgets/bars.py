"""One-line bars of the frame, drawn as text that is never read as markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from mas_cli.output.safe_text import cut, display_width, safe_text


class Bar(Widget):
    """One line of text, cut at its end."""

    DEFAULT_CSS = "Bar { height: 1; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text = Text()

    def say(self, text: Text) -> None:
        """Show this; nothing happens when it stands there already."""
        if text != self._text:
            self._text = text
            self.refresh()

    def render(self) -> Text:
        """The line."""
        self._text.no_wrap = True
        self._text.overflow = "ellipsis"
        return self._text


class KeyBar(Bar):
    """Keys and what they do; a click on one is as good as the key."""

    class Picked(Message):
        """A key was clicked, by the name of its action."""

        def __init__(self, key_id: str) -> None:
            super().__init__()
            self.key_id = key_id

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._edges: list[tuple[int, str]] = []

    def say_keys(self, keys: Sequence[tuple[str, str, str]]) -> None:
        """Show keys: the name of the action, the key, and what it does."""
        text = Text(no_wrap=True)
        self._edges = []
        for key_id, key, label in keys:
            text.append(f" {key}", "bold cyan")
            text.append(f" {label} ")
            self._edges.append((display_width(text.plain), key_id))
        self.say(text)

    def on_click(self, event: events.Click) -> None:
        """Do what the key does that stands there."""
        for edge, key_id in self._edges:
            if event.x < edge:
                self.post_message(self.Picked(key_id))
                return


class TabBar(Widget):
    """Names of the screens; a click goes there."""

    DEFAULT_CSS = "TabBar { height: 1; }"

    class Picked(Message):
        """A name was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, titles: Sequence[str], *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles = titles
        self._between = "|" if ascii_only else "│"
        self._shown = 1
        self._edges: list[int] = []

    def pick(self, number: int) -> None:
        """Mark the screen that is shown."""
        self._shown = number
        self.refresh()

    def render(self) -> Text:
        """The line; names get shorter where there is no room."""
        width = self.size.width
        room, letters = max(map(len, self._titles)), sum(map(len, self._titles))
        # A number and two spaces each; then what is nice to have.
        spare = width - letters - 3 * len(self._titles)
        between = self._between if spare >= len(self._titles) else ""
        pad = " " if spare >= 2 * len(self._titles) else ""
        while room > 1 and sum(min(len(title), room) + 3 for title in self._titles) > width:
            room -= 1
        text = Text(no_wrap=True)
        self._edges = []
        for number, title in enumerate(self._titles, 1):
            name = f" {number} {title[:room]}{pad}"
            text.append(name, "reverse bold" if number == self._shown else "")
            text.append(between, "dim")
            self._edges.append(display_width(text.plain))
        return text

    def on_click(self, event: events.Click) -> None:
        """Go to the screen whose name stands there."""
        for number, edge in enumerate(self._edges, 1):
            if event.x < edge:
                self.post_message(self.Picked(number))
                return


_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.:-=+*#"


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Values as a row of bars, the newest on the right; several values share a bar where there is no room."""
    if width <= 0:
        return ""
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    share = max(1, -(-len(values) // width))
    if share > 1:
        start = len(values) % share
        values = [max(values[at : at + share]) for at in range(start, len(values), share)]
    shown = list(values)[-width:]
    highest = max(shown, default=0.0)
    bars = "".join(
        " " if value <= 0 else blocks[min(len(blocks) - 1, int(value / highest * len(blocks)))]
        for value in shown
    )
    return bars.rjust(width)


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A share from 0 to 1 as a bar."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return ("#" if ascii_only else "█") * filled + ("." if ascii_only else "░") * (width - filled)


def fitted_text(value: object, width: int) -> str:
    """A value that came from the wire, safe and in at most so many columns."""
    return cut(safe_text(value, 2_000), width)
