"""How often a message may be handled: what its sender asks for, or its receiver where the sender does not say.

`docs/delivery.md` says what each means at the sender, the gateway and the receiver.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from mas_core.errors import UsageError
from mas_core.model.message import Flag


class DeliveryMode(StrEnum):
    """What is given up when something fails: the message, or that it is handled once."""

    AT_MOST_ONCE = "at_most_once"
    """Its handler is started once and never again, whatever becomes of it."""
    AT_LEAST_ONCE = "at_least_once"
    """It is handled until that succeeds, or is kept as a dead letter."""
    EXACTLY_ONCE = "exactly_once"
    """As at least once, and whatever comes again under its id within the duplicate window has no effect."""

    @property
    def flag(self) -> int:
        """Its bit in envelopes and deliveries."""
        return _FLAGS[self]


_FLAGS: Final = {
    DeliveryMode.AT_MOST_ONCE: Flag.AT_MOST_ONCE,
    DeliveryMode.EXACTLY_ONCE: Flag.EXACTLY_ONCE,
    DeliveryMode.AT_LEAST_ONCE: Flag.AT_LEAST_ONCE,
}


def parse_delivery(text: str) -> DeliveryMode:
    """The mode of this name; dashes count as underscores.

    Raises:
        UsageError: There is none.
    """
    try:
        return DeliveryMode(text.replace("-", "_"))
    except ValueError:
        names = ", ".join(DeliveryMode)
        raise UsageError(f"{text!r} is no way of delivery", hint=f"one of {names}") from None


def mode_of(flags: int) -> DeliveryMode | None:
    """What the sender asked for; None when it left that to the receiver."""
    if not flags & (Flag.AT_MOST_ONCE | Flag.AT_LEAST_ONCE | Flag.EXACTLY_ONCE):
        return None
    return next(mode for mode, flag in _FLAGS.items() if flags & flag)
