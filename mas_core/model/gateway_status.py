"""What a gateway says of itself with each heartbeat, and the order that keeps it from taking partitions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Literal

import msgspec

GATEWAY_EXPIRY_MS = 2_000
"""A gateway counts as running for this long after its last heartbeat."""

GatewayState = Literal["serving", "draining", "drained"]


def order_purpose(gateway_id: str) -> str:
    """What the MAC of a drain order is for."""
    return f"gateway:drain:{gateway_id}"


class GatewayStatus(msgspec.Struct, frozen=True):
    """What a gateway says of itself."""

    gateway_id: str
    seen: int
    """Unix milliseconds by the server's clock."""
    started: int
    partitions: tuple[int, ...]
    host: str
    pid: int
    messages: int = 0
    cpu_s: float = 0.0
    """Processor time that the whole process has used."""
    alarms: tuple[str, ...] = ()
    """What is wrong and needs an operator, in words."""
    is_draining: bool = False
    """Whether it takes no partitions and gives up those that it has: an operator wants it so, or it ends."""

    is_named: bool = True
    """Whether somebody gave it its name; one that was made up is never used again."""

    loop_lag_ms: int = 0
    """How late its event loop was at worst lately."""

    spans: int = 0
    """Spans that a collector took of its process."""

    spans_dropped: int = 0
    """Spans of its process that nobody got."""

    refused: int = 0
    """Messages that it did not accept."""

    in_s: float | None = None
    """Messages judged a second over the last seconds; None where it does not say."""

    refused_s: float | None = None
    """Of these, messages not accepted."""

    p95_ms: int | None = None
    """How long 95 of 100 of its newest messages lay at most before they were judged."""

    stages_on: tuple[str, ...] = ()
    """Stages that the messages of all its partitions pass because the policy wants them."""

    @property
    def state(self) -> GatewayState:
        """Whether it takes partitions, gives them up, or has none any more."""
        if not self.is_draining:
            return "serving"
        return "draining" if self.partitions else "drained"


class DrainOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operator's wish that a gateway owns nothing; it holds until it is taken back."""

    by: str
    """user@host."""
    at: int
    """Unix milliseconds by the server's clock."""
    reason: str = ""


def gateways_in(fields: Mapping[str, bytes]) -> list[GatewayStatus]:
    """What gateways said of themselves, however long ago, by id."""
    found = []
    for name, text in fields.items():
        # One that cannot be read is of another version, or somebody else's.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            status = msgspec.json.decode(text, type=GatewayStatus)
            if status.gateway_id == name:
                found.append(status)
    return sorted(found, key=lambda item: item.gateway_id)


def live_gateways(fields: Mapping[str, bytes], now: int) -> list[GatewayStatus]:
    """The gateways with a fresh heartbeat, by id."""
    return [item for item in gateways_in(fields) if item.seen + GATEWAY_EXPIRY_MS > now]
