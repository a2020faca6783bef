"""From the words of a command line to a command of the table.

Shared flags may stand anywhere before the command's own arguments; they are moved behind its name, in
front of what follows there, so that the last one given wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from mas_cli.command_table import COMMANDS, GROUPS, Command
from mas_cli.input.shared_flags import BY_DECLARATION
from mas_core.errors import UsageError


class Route(NamedTuple):
    """Where a command line leads."""

    path: tuple[str, ...]
    """The words of the command or group, empty for `mas` itself."""
    command: Command | None
    """None for a group or `mas` itself."""
    arguments: tuple[str, ...] = ()
    """Shared flags from before the command, then everything behind it."""
    wants_help: bool = False


def route(words: Sequence[str]) -> Route:
    """Find the command.

    Raises:
        UsageError: There is no such command or flag; close ones are named.
    """
    path: tuple[str, ...] = ()
    moved: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in {"-h", "--help"}:
            return Route(path, None, wants_help=True)
        if word in {"-V", "--version"} and not path:
            return Route(("version",), BY_PATH["version",], tuple(moved))
        if word.startswith("-") and word not in {"-", "--"}:
            moved += _shared_flag(word, rest)
            continue
        path = (*path, word)
        command = BY_PATH.get(path)
        if command is not None:
            return Route(path, command, (*moved, *rest))
        if " ".join(path) not in GROUPS:
            raise _unknown(path)
    return Route(path, None, tuple(moved))


BY_PATH: dict[tuple[str, ...], Command] = {tuple(command.name.split()): command for command in COMMANDS}


def command_at(words: Sequence[str]) -> Command | None:
    """The command that these words begin with, without a look at what follows it; None if there is none."""
    return next(
        (found for end in range(len(words), 0, -1) if (found := BY_PATH.get(tuple(words[:end])))), None
    )


def members(path: tuple[str, ...]) -> list[tuple[str, str]]:
    """Word and summary of everything directly under a group, in the order of the table."""
    found: dict[str, str] = {}
    for command_path, command in BY_PATH.items():
        if command_path[: len(path)] != path or len(command_path) == len(path):
            continue
        word = command_path[len(path)]
        is_group = len(command_path) > len(path) + 1
        found.setdefault(word, GROUPS[" ".join((*path, word))] if is_group else command.summary)
    return list(found.items())


def _shared_flag(word: str, rest: list[str]) -> list[str]:
    """The words that make up the shared flag at `word`; its value is taken from `rest`."""
    if word.startswith("--"):
        name, equals, _ = word.partition("=")
        spec = BY_DECLARATION.get(name)
        if spec is None:
            raise UsageError(
                f"there is no flag {name} in front of a command",
                hint="mas --help",
                closest=get_close_matches(name, BY_DECLARATION, 1),
            )
        return [word, *_value(name, rest)] if spec.takes_value and not equals else [word]
    for index, letter in enumerate(word[1:], start=1):
        spec = BY_DECLARATION.get(f"-{letter}")
        if spec is None:
            raise UsageError(f"there is no flag -{letter} in front of a command", hint="mas --help")
        if spec.takes_value:
            return [word] if word[index + 1 :] else [word, *_value(f"-{letter}", rest)]
    return [word]


def _value(name: str, rest: list[str]) -> list[str]:
    if not rest:
        raise UsageError(f"{name} needs a value", hint="mas --help")
    return [rest.pop(0)]


def _unknown(path: tuple[str, ...]) -> UsageError:
    *group, word = path
    siblings = [name for name, _ in members(tuple(group))]
    # A word that is right elsewhere was meant rather than one that only looks like it.
    close = [f"mas {command.name}" for end, command in BY_PATH.items() if end[-1] == word][:3]
    if not close:
        close = [" ".join(("mas", *group, name)) for name in get_close_matches(word, siblings, 2)]
    where = " ".join(("mas", *group))
    return UsageError(f"{where} has no command {word!r}", hint=close or f"{where} --help", closest=close)
