"""`mas __complete SHELL WORD...`: what may follow, from the generated table, without a heavy import.

The last word is the one under the cursor. Each answer is a line `value<TAB>description`; a line `:files` or
`:folders` leaves the word to the shell. Whatever goes wrong, the answer is nothing and never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mas_cli.completion.word_table import CommandWords, Flags, WordTable, load
from mas_cli.output.plain_lines import write_lines

_SHELL_KINDS = {"FILE": ":files", "PATH": ":files", "DIR": ":folders"}


class Suggestion(NamedTuple):
    """One possible word."""

    value: str
    description: str = ""


class _Place(NamedTuple):
    """Where in a command line the cursor is."""

    path: list[str]
    command: CommandWords | None
    flags: Flags
    positional: int
    awaits: str
    """The kind of value that the flag before the cursor takes; empty when there is none."""
    only_arguments: bool
    given: Sequence[str]


def main(arguments: Sequence[str]) -> int:
    """Write the answers for `SHELL WORD...`; the exit code is always 0."""
    try:
        shell, *words = arguments
        write_lines(answer(shell, words or [""]))
    except Exception:  # noqa: BLE001, S110 - a failing TAB must not put anything on the screen
        pass
    return 0


def answer(shell: str, words: Sequence[str], table: WordTable | None = None) -> list[str]:
    """The lines to answer with."""
    table = table or load()
    joined = _joined(words) if shell == "bash" else list(words)
    *before, current = joined
    found = list(_suggestions(table, before, current))
    # bash breaks words at these and replaces only what follows
    kept = max(current.rfind("="), current.rfind(":")) + 1 if shell == "bash" else 0
    return [
        item.value if item.value.startswith(":") else f"{item.value[kept:]}\t{item.description}"
        for item in found
        if item.value.startswith((":", current))
    ]


def _suggestions(table: WordTable, before: Sequence[str], current: str) -> Iterator[Suggestion]:
    place = _place(table, before)
    if place is None:
        return
    flag, equals, _ = current.partition("=")
    if place.awaits:
        yield from _values(place.awaits, current, place.given)
    elif current.startswith("--") and equals and not place.only_arguments:
        for item in _values(place.flags.get(flag, ["", ""])[1], current, place.given):
            yield item if item.value.startswith(":") else Suggestion(f"{flag}={item.value}", item.description)
    elif current.startswith("-") and not place.only_arguments:
        yield from (Suggestion(name, text) for name, (text, _) in place.flags.items())
    elif place.command is None:
        yield from _members(table, place.path)
    else:
        arguments = place.command["arguments"]
        kind = arguments[min(place.positional, len(arguments) - 1)] if arguments else ""
        if place.positional < len(arguments) or kind.endswith("..."):
            yield from _values(kind.removesuffix("..."), current, place.given)


def _place(table: WordTable, before: Sequence[str]) -> _Place | None:
    path: list[str] = []
    command: CommandWords | None = None
    flags = table["shared"]
    positional = 0
    awaits = ""
    only_arguments = False
    for word in before:
        if awaits:
            awaits = ""
        elif word == "--" and command is not None:
            only_arguments = True
        elif word.startswith("-") and word != "-" and not only_arguments:
            awaits = _awaited(word, flags)
        elif command is not None:
            positional += 1
        else:
            path.append(word)
            name = " ".join(path)
            command = table["commands"].get(name)
            if command is not None:
                flags = {**command["flags"], **table["shared"]}
            elif name not in table["groups"]:
                return None
    return _Place(path, command, flags, positional, awaits, only_arguments, before)


def _awaited(word: str, flags: Flags) -> str:
    if word.startswith("--"):
        return flags.get(word, ["", ""])[1]
    last = flags.get(f"-{word[-1]}", ["", ""])[1]
    # in -ojson the value is there already
    takers = [letter for letter in word[1:-1] if flags.get(f"-{letter}", ["", ""])[1]]
    return "" if takers else last


def _members(table: WordTable, path: Sequence[str]) -> Iterator[Suggestion]:
    prefix = "".join(f"{word} " for word in path)
    seen: set[str] = set()
    for name, command in table["commands"].items():
        if not name.startswith(prefix):
            continue
        word, _, more = name[len(prefix) :].partition(" ")
        if word not in seen:
            seen.add(word)
            yield Suggestion(word, table["groups"].get(prefix + word, "") if more else command["summary"])


def _values(kind: str, current: str, given: Sequence[str]) -> Iterator[Suggestion]:
    if "|" in kind:
        yield from map(Suggestion, kind.split("|"))
    elif kind in _SHELL_KINDS:
        yield Suggestion(_SHELL_KINDS[kind])
    elif kind == "PAYLOAD":
        if current.startswith("@"):
            from mas_cli.completion.values import files

            yield from (Suggestion(f"@{path}") for path in files(current[1:]))
    elif kind:
        from mas_cli.completion.values import live_values

        yield from (Suggestion(value, text) for value, text in live_values(kind, given))


def _joined(words: Sequence[str]) -> list[str]:
    """Words as they were typed: bash hands over `--output=json` and `a:b` in three pieces."""
    joined: list[str] = []
    glue = False
    for word in words:
        is_break = word in {"=", ":"}
        if joined and (is_break or glue):
            joined[-1] += word
        else:
            joined.append(word)
        glue = is_break
    return joined
