"""What operators order about queues: that frames which nobody has read become dead letters.

waiting ──taken by the operator──▶ in hand of TRIMMER ──order──▶ dead letters
   ▲                                      │
   └── an instance takes it over ─────────┘ when nobody carries the order out
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from mas_core.model.priority import LANES

TRIM_PREFIX: Final = "bus/trim/"
"""Begins the names of orders among what is due; no agent id holds a slash."""
TRIMMER: Final = "trimmed"
"""Who has frames in hand that are to leave a queue; no instance is called so."""
RELEASED: Final = "released"
"""Who has frames in hand that an operator took from an instance, until another takes them over."""
TRIMMED: Final = "trimmed"
"""Code of the dead letters that are made of them."""

_NAME: Final = re.compile(
    re.escape(TRIM_PREFIX)
    + rf"([a-z0-9][a-z0-9_-]{{0,62}})/({'|'.join(LANES)})/([0-9]{{1,20}}-[0-9]{{1,20}})"
)


class TrimOrder(msgspec.Struct, array_like=True, frozen=True):
    """An operator wants the messages of a frame in the dead letters; sealed in the store."""

    id: str
    by: str
    """user@host."""
    at: int
    """Unix milliseconds by the server's clock."""
    note: str = ""


class TrimOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of an order."""

    moved: int = 0
    """Messages that are dead letters now."""
    reason: str = ""
    """Why the frame stays; empty when it does not."""


def trim_name(agent_id: str, lane: str, entry: str) -> str:
    """What an order about a frame is called among what is due."""
    return f"{TRIM_PREFIX}{agent_id}/{lane}/{entry}"


def trim_place(name: str) -> tuple[str, str, str] | None:
    """Agent, lane and entry of the frame that something due is about; None when it is no such order."""
    found = _NAME.fullmatch(name)
    return (found[1], found[2], found[3]) if found else None


def trim_outcome_purpose(order_id: str) -> str:
    """What the outcome of an order carries its MAC for."""
    return f"trim-outcome:{order_id}"
