"""What can be typed where, as plain data: generated from the command table, read by the fast path.

    groups      name -> summary
    commands    name -> summary, flags, arguments
    shared      flags of every command

A flag is spelled -> [help, value], an argument is its value; a value is empty for a switch, choices joined
by `|`, or the kind of thing that stands there (FILE, CONTEXT, ...). A last argument that ends in `...`
repeats.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

PATH = Path(__file__).with_name("words.json")

Flags = dict[str, list[str]]


class CommandWords(TypedDict):
    """One command."""

    summary: str
    flags: Flags
    arguments: list[str]


class WordTable(TypedDict):
    """The whole table."""

    groups: dict[str, str]
    commands: dict[str, CommandWords]
    shared: Flags


def load() -> WordTable:
    """The generated table."""
    table: WordTable = json.loads(PATH.read_bytes())
    return table
