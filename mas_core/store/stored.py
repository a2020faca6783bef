"""What the server's replies hold: frames, dead letters and hashes, read in whatever shape they come."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mas_core.model.frame import Frame

ENTRY = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
"""The id of an entry of a stream."""


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A frame with its place in a stream."""

    lane: str
    entry: str
    frame: Frame

    @property
    def arrived(self) -> int:
        """When it was added, by the server's clock in Unix milliseconds; an id that was made up may say else."""
        return int(self.entry.partition("-")[0])


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter as it is stored; nothing of it is proven."""

    entry: str
    """Its place in the stream."""
    facts: bytes
    body: bytes
    """Empty where only the facts were asked for."""
    dropped_until: int = 0
    """Unix milliseconds; 0 when it is not dropped."""


@dataclass(frozen=True, slots=True)
class LogSize:
    """What a topic's log holds."""

    bytes: int
    oldest: int
    """When its first entry was added, in Unix milliseconds; 0 when it is empty."""


def letter_of(found: Any, dropped: Any) -> StoredLetter:
    """A dead letter from an entry of the stream and its score among the dropped ones."""
    entry, fields = found
    if isinstance(fields, list):
        fields = dict(zip(fields[::2], fields[1::2], strict=False))
    return StoredLetter(
        entry.decode(), fields.get(b"facts", b""), fields.get(b"body", b""), int(float(dropped or 0))
    )


def frame_of(fields: Any) -> Frame:
    """The frame in the fields of a stream entry; hostile entries give a frame that does not open."""
    if isinstance(fields, list):
        fields = dict(zip(fields[::2], fields[1::2], strict=False))
    return Frame(fields.get(b"h", b""), fields.get(b"b", b""))


def hash_of(reply: Any) -> dict[str, bytes]:
    """A hash from the reply to HGETALL, in either shape."""
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    return {name.decode(errors="replace"): value for name, value in reply.items()}
