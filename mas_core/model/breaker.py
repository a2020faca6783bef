"""Circuits as they are stored, so that the next owner of a partition and operators know them."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

UNTIL_RESET: Final = 2**53 - 1
"""When a circuit that an operator opened without an end closes: not by itself."""

_CIRCUIT = "circuit:"
_ORDER = "order:"
_SEEN = "seen:"
_BETWEEN = ">"
"""Between sender and target; no agent id holds it."""


class CircuitRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A circuit that opened. One that is closed has no record."""

    since: int
    """Unix milliseconds by the server's clock."""
    until: int
    """Unix milliseconds from which on trials pass."""
    failures: int = 0
    """Failures that were known when it opened."""
    is_payload: bool = False
    """Of a pair: the target refuses the payloads."""
    is_absent: bool = False
    """Of a target: nobody ran."""


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator wants of a target's circuits; the last one counts."""

    action: Literal["open", "reset"]
    at: int
    """Unix milliseconds by the server's clock."""
    by: str
    """user@host."""
    reason: str = ""
    until: int = 0
    """Of open: Unix milliseconds from which on trials pass."""


def circuit_field(sender: str, target: str) -> str:
    """Where the record of a circuit is; of a target's when there is no sender."""
    return f"{_CIRCUIT}{sender}{_BETWEEN}{target}"


def pair_of(field: str) -> tuple[str, str] | None:
    """Sender, which may be empty, and target of such a field; None for other fields."""
    if not field.startswith(_CIRCUIT):
        return None
    sender, _, target = field.removeprefix(_CIRCUIT).partition(_BETWEEN)
    return sender, target


def order_field(target: str) -> str:
    """Where the last order about a target is."""
    return f"{_ORDER}{target}"


def seen_field(target: str) -> str:
    """Where the time of the last order about a target is that is in the audit."""
    return f"{_SEEN}{target}"
