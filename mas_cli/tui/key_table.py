"""Which key does what: every key has a name, and `tui.keys` in mas.yaml gives it another key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from textual.binding import Binding

from mas_core.errors import ConfigurationError


class KeyAction(NamedTuple):
    """One thing that a key does."""

    id: str
    keys: str
    """Separated by commas, as Textual names them."""
    action: str
    label: str


KEYS: Final[tuple[KeyAction, ...]] = (
    *(
        KeyAction(f"screen.{number}", str(number), f"screen({number})", f"screen {number}")
        for number in range(1, 10)
    ),
    KeyAction("row.open", "enter", "open_row", "open"),
    KeyAction("filter.open", "slash", "filter", "filter"),
    KeyAction("filter.clear", "escape", "back", "back"),
    KeyAction("live.pause", "p", "pause", "pause"),
    KeyAction("live.end", "end,G", "go_end", "newest"),
    KeyAction("row.actions", "a", "row_actions", "actions"),
    KeyAction("row.mark", "m", "mark", "mark"),
    KeyAction("row.mark_all", "M", "mark_all", "mark all"),
    KeyAction("row.copy", "y", "copy", "copy"),
    KeyAction("row.copy_command", "Y", "copy_command", "copy its command"),
    KeyAction("row.json", "v", "json", "as JSON"),
    KeyAction("sort.column", "s", "sort", "sort"),
    KeyAction("find.next", "n", "find(1)", "next match"),
    KeyAction("find.previous", "N", "find(-1)", "previous match"),
    KeyAction("problem.next", "e", "problem(1)", "next problem"),
    KeyAction("problem.previous", "E", "problem(-1)", "previous problem"),
    KeyAction("time.back", "left_square_bracket", "time(-60)", "1 min back"),
    KeyAction("time.forward", "right_square_bracket", "time(60)", "1 min on"),
    KeyAction("time.far_back", "left_curly_bracket", "time(-3600)", "1 h back"),
    KeyAction("time.far_forward", "right_curly_bracket", "time(3600)", "1 h on"),
    KeyAction("replay.speed", "x", "speed", "speed of a replay"),
    KeyAction("view.wide", "w", "wide", "wide"),
    KeyAction("view.wrap", "W", "wrap", "wrap long lines"),
    KeyAction("view.columns", "c", "columns", "columns"),
    KeyAction("view.group", "g", "group", "group, or first row"),
    KeyAction("view.zoom", "z", "zoom", "zoom"),
    KeyAction("view.next", "tab", "app.focus_next", "next pane"),
    KeyAction("go.palette", "colon,ctrl+p", "palette", "go to"),
    KeyAction("go.jump", "space", "jump", "jump to a part"),
    KeyAction("go.last", "minus", "last_screen", "last screen"),
    KeyAction("help.context", "question_mark", "help", "keys"),
    KeyAction("app.quit", "q", "quit", "quit"),
)
"""All of them; nothing that destroys has a key of its own."""

MOVING: Final = frozenset({"screen", "filter", "palette", "jump", "last_screen"})
"""Actions after which keys mean something else: they are done before the next key is looked at, however fast it
comes. While something is typed in, their keys are characters."""


def action_name(action: str) -> str:
    """The name of an action without what it is given."""
    return action.partition("(")[0]


_BY_ID: Final = {key.id: key for key in KEYS}


def bindings() -> list[Binding]:
    """The keys as Textual wants them."""
    return [
        Binding(
            key.keys, key.action, key.label, id=key.id, show=False, priority=action_name(key.action) in MOVING
        )
        for key in KEYS
    ]


def keymap(chosen: Mapping[str, str]) -> dict[str, str]:
    """What `tui.keys` changes.

    Raises:
        ConfigurationError: It names something that no key does, or gives one key two meanings.
    """
    unknown = sorted(set(chosen) - _BY_ID.keys())
    if unknown:
        raise ConfigurationError(f"tui.keys names {unknown[0]!r}, which there is not", hint="mas tui keys")
    used: dict[str, str] = {}
    for key in KEYS:
        for one in chosen.get(key.id, key.keys).split(","):
            if (other := used.setdefault(one.strip(), key.id)) != key.id:
                raise ConfigurationError(
                    f"tui.keys gives {one.strip()!r} to {other} and to {key.id}", hint="mas tui keys"
                )
    return dict(chosen)


def action_of(key_id: str) -> str:
    """What Textual runs for a key of this name."""
    return _BY_ID[key_id].action


def shown_key(key_id: str, chosen: Mapping[str, str]) -> str:
    """How the first key of an action is written in hints."""
    first = chosen.get(key_id, _BY_ID[key_id].keys).split(",")[0].strip()
    return _SHOWN.get(first, first)


_SHOWN: Final = {
    "slash": "/", "colon": ":", "question_mark": "?", "escape": "esc", "minus": "-", "full_stop": ".",
    "left_square_bracket": "[", "right_square_bracket": "]", "left_curly_bracket": "{",
    "right_curly_bracket": "}",
}  # fmt: skip
