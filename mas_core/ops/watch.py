"""The live feed: one event for every decision, as it is made. It is for watching; the audit is the evidence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from mas_core.ops.system import System
from mas_core.security.type_glob import compile_glob

BLOCK_MS = 500


class LiveEvent(msgspec.Struct, frozen=True):
    """A decision that was just made."""

    time: int
    """Unix milliseconds by the server's clock."""
    sender: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    type: str
    bytes: int
    decision: str
    reason: str
    id: str
    rule: str


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; everything that is left out matches all."""

    agent: str = ""
    sender: str = ""
    target: str = ""
    message_type: str = ""
    refused_only: bool = False

    def matches(self, event: LiveEvent) -> bool:
        """Whether an event is wanted."""
        return (
            (not self.agent or self.agent in (event.sender, event.target))
            and (not self.sender or event.sender == self.sender)
            and (not self.target or event.target == self.target)
            and (not self.message_type or compile_glob(self.message_type)(event.type))
            and (not self.refused_only or event.decision not in ("allowed", "alert", "redacted"))
        )


async def follow(
    system: System, wanted: EventFilter | None = None, *, from_start: bool = False
) -> AsyncIterator[LiveEvent | None]:
    """Events as they come; None now and then while there are none, so that a caller can look at the clock.

    Args:
        system: The system.
        wanted: Which events.
        from_start: Begin with what the feed still holds instead of with what comes.
    """
    partitions = range(system.store.partitions)
    records = system.store.records
    after = {
        partition: "0-0" if from_start else await records.last_live_entry(partition)
        for partition in partitions
    }
    decode = msgspec.json.Decoder(LiveEvent).decode_lines
    while True:
        found = await records.live_events(after, BLOCK_MS)
        if not found:
            yield None
        for partition, entry, text in found:
            after[partition] = entry
            try:
                events = decode(text)
            except msgspec.DecodeError:
                continue
            for event in events:
                if wanted is None or wanted.matches(event):
                    yield event
