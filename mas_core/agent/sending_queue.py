"""What waits to be sent to one partition and lane, and what was sent and has no receipt yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final

import msgspec

from mas_core.base.ids import partition_of
from mas_core.errors import InvalidPayload, MasError
from mas_core.model.decision import Receipt
from mas_core.model.frame import MAX_FRAME_BYTES, MAX_FRAME_MESSAGES, MAX_UNANSWERED_FRAMES, Frame
from mas_core.model.message import Envelope
from mas_core.model.priority import Lane
from mas_core.security.seals import SealKey

RESEND_AFTER_S = 2.0
"""Seconds without a receipt until the first probe; each further one waits twice as long as the one before."""
MAX_RESEND_AFTER_S = 60.0

PACKER: Final = msgspec.msgpack.Encoder()
_ENVELOPES: Final = msgspec.msgpack.Decoder(Envelope)


class Waiting(msgspec.Struct, eq=False):
    """Messages that were submitted together; they travel in one frame and get their receipts together."""

    ids: list[str]
    packed: list[msgspec.Raw]
    size: int
    answer: asyncio.Future[list[Receipt]]
    deadline: float
    route: str
    """The agent whose partition they go to."""
    lane: Lane
    order: int
    """Grows with every submission, so that what has to go another way keeps its turn."""


@dataclass(slots=True)
class SentFrame:
    """A frame that may have no receipt yet, and the messages in it."""

    frame: Frame
    counter: int
    groups: list[Waiting]
    sent_at: float
    may_be_there: bool = False
    """Whether the server took it, or may have taken it."""


@dataclass(slots=True)
class SendingQueue:
    """Messages for one partition and lane; one sending session."""

    partition: int
    lane: Lane
    session: str
    seal_key: SealKey
    waiting: deque[Waiting] = field(default_factory=deque)
    unanswered: OrderedDict[int, SentFrame] = field(default_factory=OrderedDict)
    counter: int = 0
    answered_at: float = 0.0
    """When the last receipt came, by the monotonic clock."""
    probes: int = 0
    """How often frames were added again since then."""
    trouble: MasError | None = None
    """Why the last frame could not be added."""

    @property
    def has_room(self) -> bool:
        """Whether the gateway still has the receipt of every unanswered frame once one more is sent."""
        return self.counter - next(iter(self.unanswered), self.counter) < MAX_UNANSWERED_FRAMES - 1

    def is_overdue(self, now: float) -> bool:
        """Whether it is time to ask for receipts again; seldom once nobody waits for one any more."""
        oldest = next(iter(self.unanswered.values()), None)
        if oldest is None:
            return False
        waited_s = now - max(oldest.sent_at, self.answered_at)
        if waited_s <= RESEND_AFTER_S:
            return False
        is_awaited = any(not waiting.answer.done() for waiting in self.all_waiting())
        delay = RESEND_AFTER_S * 2.0 ** min(self.probes, 16) if is_awaited else MAX_RESEND_AFTER_S
        return waited_s > min(delay, MAX_RESEND_AFTER_S)

    def all_waiting(self) -> list[Waiting]:
        """Messages without a receipt."""
        sent = [waiting for frame in self.unanswered.values() for waiting in frame.groups]
        return [*sent, *self.waiting]

    def answered(self, counter: int, now: float) -> None:
        """A receipt came. Frames are judged in order, so earlier receipts were lost: they are asked for again."""
        self.answered_at = now
        self.probes = 0
        for number, earlier in self.unanswered.items():
            if number > counter:
                break
            if now - earlier.sent_at > RESEND_AFTER_S:
                earlier.sent_at = 0.0

    def take_groups(self) -> list[Waiting]:
        """What goes into the next frame, without what nobody waits for any more."""
        groups: list[Waiting] = []
        size = count = 0
        while self.waiting:
            waiting = self.waiting[0]
            size += waiting.size
            is_full = size > MAX_FRAME_BYTES or count + len(waiting.packed) > MAX_FRAME_MESSAGES
            if groups and is_full:
                break
            self.waiting.popleft()
            if not waiting.answer.done():
                groups.append(waiting)
                count += len(waiting.packed)
        return groups


def by_partition(waiting: Waiting, partitions: int) -> list[Waiting]:
    """What was submitted together, in parts that each belong to one partition.

    Targets that shared a partition need not share one after a change. Each part has an answer of its own; together
    they answer the whole.
    """
    if len(waiting.ids) == 1:
        return [waiting]
    places: defaultdict[int, list[int]] = defaultdict(list)
    for at, text in enumerate(waiting.packed):
        places[partition_of(_ENVELOPES.decode(text).target, partitions)].append(at)
    if len(places) == 1:
        return [waiting]
    parts = [_part(waiting, chosen) for chosen in places.values()]
    together = asyncio.gather(*(part.answer for part in parts))
    together.add_done_callback(partial(_answer_whole, waiting, list(chain(*places.values()))))
    # Nobody waits any more for the parts of what was given up.
    waiting.answer.add_done_callback(lambda _answer: together.cancel())
    return parts


def _part(waiting: Waiting, chosen: list[int]) -> Waiting:
    packed = [waiting.packed[at] for at in chosen]
    return msgspec.structs.replace(
        waiting,
        ids=[waiting.ids[at] for at in chosen],
        packed=packed,
        size=sum(map(len, packed)),
        answer=asyncio.get_running_loop().create_future(),
        route=_ENVELOPES.decode(packed[0]).target,
    )


def _answer_whole(waiting: Waiting, order: list[int], parts: asyncio.Future[list[list[Receipt]]]) -> None:
    if parts.cancelled() or waiting.answer.done():
        return
    error = parts.exception()
    if error is not None:
        waiting.answer.set_exception(error)
        return
    receipts = dict(zip(order, chain(*parts.result()), strict=True))
    waiting.answer.set_result([receipts[at] for at in range(len(waiting.ids))])


def pack_envelope(envelope: Envelope) -> msgspec.Raw:
    """The message as it stands in a frame. Packed here, one that cannot be packed spoils no frame."""
    if envelope.headers:
        for text in chain.from_iterable(envelope.headers.items()):
            if not isinstance(text, str):
                raise InvalidPayload(f"names and values of headers must be str, not {type(text).__name__}")
    try:
        return msgspec.Raw(PACKER.encode(envelope))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidPayload(f"the message cannot be put into a frame: {error}") from None
