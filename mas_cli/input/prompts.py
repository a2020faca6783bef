"""What is said before a payload is read from a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mas_cli.invocation import Invocation


def announced(call: Invocation) -> Callable[[], None]:
    """Says where to type, if somebody types."""

    def announce() -> None:
        if call.stdin.isatty():
            call.talk.say("reading payload from stdin, end with Ctrl-D")

    return announce
