"""Payloads beside messages: short or full, and why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.output.columns import Record
from mas_cli.output.documents import json_text
from mas_cli.output.safe_text import cut
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.payload_views import ShownPayload

WAYS = ("none", "short", "full")
SHORT = 80
"""Columns of a short payload."""

PayloadWay = Annotated[
    str,
    typer.Option(
        "--payload", metavar="none|short|full", help="Payloads too, where the policy has copies kept."
    ),
]


def checked_way(way: str) -> str:
    """The value of --payload.

    Raises:
        UsageError: It is none.
    """
    if way not in WAYS:
        raise UsageError(f"--payload: {way!r} is none of {', '.join(WAYS)}")
    return way


def payload_text(shown: ShownPayload, way: str) -> str:
    """For people: the payload, or in parentheses why there is none."""
    if shown.problem:
        return f"({shown.problem})"
    text = json_text(shown.value)
    return cut(text, SHORT) if way == "short" else text


def payload_fields(shown: ShownPayload, way: str, *, as_text: bool) -> Record:
    """What is added to the record of a message."""
    if as_text:
        return {"payload": payload_text(shown, way)}
    value = None if shown.problem else shown.value
    return {
        "payload": payload_text(shown, way) if way == "short" and not shown.problem else value,
        "payload_problem": shown.problem or None,
    }
