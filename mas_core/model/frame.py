"""Frames: the unit on the wire. One stream entry that carries one or many sealed messages.

A frame is a header, which is authenticated but readable, and a sealed body. The header says where the frame
belongs; a reader compares it with the place where it found the frame, so a copy elsewhere does not open.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from mas_core.model.decision import Receipt
from mas_core.model.message import Delivery, Envelope

FRAME_VERSION = 1

MAX_FRAME_MESSAGES = 256
"""Messages that a sender packs into one frame."""
MAX_FRAME_BYTES = 512 * 1024
"""Payload bytes after which a sender closes a frame; one larger message travels alone."""
MAX_DELIVERY_MESSAGES = 64
"""Messages that the gateway packs into one inbox frame."""
MAX_UNANSWERED_FRAMES = 16
"""Frames per session, partition and lane that a sender may have without a receipt."""


LAYOUT_ENDED = -1
"""Instead of a counter in the receipt of a frame that was made for another layout."""


class Place(StrEnum):
    """The kind of stream that a frame belongs to."""

    INGRESS = "ingress"
    INBOX = "inbox"
    REPLIES = "replies"
    RECEIPTS = "receipts"
    """In the replies stream as well, but with receipts inside."""


class FrameHeader(msgspec.Struct, array_like=True, frozen=True):
    """What is readable of a frame and bound to its seal as associated data."""

    version: int
    namespace: str
    partition: int
    place: Place
    lane: str
    agent: str
    """The agent at the outer end: sender of an ingress frame, receiver of all others."""
    instance: str
    """The running instance at the outer end; empty in an inbox, which all instances share."""
    session: str
    """Who counts: the sender's session, or the owner's nonce. It is the salt of the seal key."""
    agent_key_id: str
    gateway_key_id: str
    counter: int
    """Dense per session, partition and lane for ingress; unique per session elsewhere."""
    count: int
    """Messages inside."""
    time: int
    """Unix milliseconds by the sender's estimate of the server's clock."""
    wraps: dict[str, bytes] | None = None
    """Agent key id -> wrapped body key, while an agent has several valid keys."""
    layout: int = 1
    """Of an ingress frame: the layout that its sender knows, which says what belongs into the partition."""


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """A frame as it lies in a stream."""

    header: bytes
    body: bytes


class FrameReceipt(msgspec.Struct, array_like=True, frozen=True):
    """The answer to one ingress frame."""

    session: str
    partition: int
    lane: str
    counter: int
    receipts: tuple[Receipt, ...] = ()
    """One for each message that was not plainly allowed, by position in `positions`."""
    positions: tuple[int, ...] = ()
    expected: int = 0
    """Not 0: the frame was out of sequence and this is the counter that is expected. LAYOUT_ENDED: its layout is
    not in force any more, and nothing of it was taken."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding hostile MessagePack may raise: text that is not UTF-8 is no DecodeError."""

HEADER_ENCODER = msgspec.msgpack.Encoder()
HEADER_DECODER = msgspec.msgpack.Decoder(FrameHeader)
ENVELOPES_ENCODER = msgspec.msgpack.Encoder()
ENVELOPES_DECODER = msgspec.msgpack.Decoder(list[Envelope])
DELIVERIES_DECODER = msgspec.msgpack.Decoder(list[Delivery])
RECEIPTS_DECODER = msgspec.msgpack.Decoder(list[FrameReceipt])
