"""One entry of the command table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Impact = Literal["read", "write", "destroy"]
Scope = Literal["system", "local"]


class Command(NamedTuple):
    """One command."""

    name: str
    """The words that are typed, such as `context add`."""
    summary: str
    impact: Impact
    handler: str
    """`module:function` in `mas_cli.commands`."""
    examples: tuple[str, ...]
    exit_codes: Mapping[int, str] = {}
    """Codes beyond those that every command has, and when this one ends so."""
    scope: Scope = "system"
    """Whether it acts on a running system or on files of this machine."""
    output: str = "table"
    """The format when none is asked for."""
    asks: bool = False
    """It may ask before it goes on although it destroys nothing, so it takes --confirm too."""
    own_timeout: bool = False
    """The command gives --timeout a meaning of its own."""
