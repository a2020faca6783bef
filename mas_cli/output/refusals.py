"""Refusals in the words of what was tried, each thing said once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mas_core.errors import Forbidden

_HEAD = "Authorization denied: "
_REPEATED = re.compile(r"^(no rule allows it): \S+ may not .*$", re.DOTALL)


def said_once(text: str) -> str:
    """A refusal's message or reason without what its label or its headline says already."""
    return _REPEATED.sub(r"\1", text.removeprefix(_HEAD))


def say_plainly(error: Forbidden, action: str) -> None:
    """Name the action in what `error` says, and take that sentence out of the reason.

    Args:
        error: The refusal of one message.
        action: send or request.
    """
    sender, target, message_type = (error.details.get(name) for name in ("sender", "target", "type"))
    what = f"{sender} may not {action} {message_type} to {target}"
    because = error.details.get("because")
    if isinstance(because, str):
        error.details["because"] = because.removeprefix(_HEAD).removesuffix(f": {what}")
    if action == "request":
        error.message = f"{sender} may not request {message_type} from {target}"


@contextmanager
def refusals_in_words(action: str) -> Iterator[None]:
    """Let refusals say what was tried; `action` is send or request."""
    try:
        yield
    except Forbidden as error:
        say_plainly(error, action)
        raise
