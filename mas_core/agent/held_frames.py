"""The frames in an instance's hands, and the messages in them: opened, and held until all are settled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from mas_core.agent.link import Link
from mas_core.base.logs import get_logger
from mas_core.errors import DecryptionFailed
from mas_core.model.frame import DELIVERIES_DECODER, UNREADABLE, Frame, FrameHeader, Place
from mas_core.model.message import REPEATED_DELIVERY, UNAUTHENTIC_DELIVERY, Delivery

log = get_logger(__name__)

MAX_SESSIONS = 256
"""Sessions and lanes of gateways whose numbers are remembered."""


class Held(msgspec.Struct, frozen=True):
    """One message in this instance's hands."""

    lane: str
    entry: str
    total: int
    position: int
    delivery: Delivery | None
    """None: its frame is sealed for a key that this instance does not have, or refused."""
    refusal: str = ""
    """Why the whole frame is refused: the gateway did not put it there."""
    starts: int = 0
    """How often a start of it was noted, this one included; 0 where starts are not noted."""
    takeovers: int = 0
    """How often it was taken over from an instance that is gone and may have started it."""


class HeldFrames:
    """What one instance holds.

    Args:
        link: Opens frames.
        agent_id: Whose instance it is.
    """

    def __init__(self, link: Link, agent_id: str) -> None:
        self._link = link
        self._agent_id = agent_id
        self._open: dict[tuple[str, str], int] = {}
        """Lane and entry of a frame -> how many of its messages are not settled."""
        self._newest: dict[tuple[str, str], int] = {}
        """(Session of the gateway, lane) -> counter of its newest frame here."""
        self._released: set[tuple[str, str]] | None = None

    def take(self, lane: str, entry: str, frame: Frame, marks: str, *, is_new: bool = False) -> list[Held]:
        """The messages of a frame that are not settled; none when the frame is in our hands already."""
        if (lane, entry) in self._open:
            return []
        messages = self._messages(lane, entry, frame, marks, is_new=is_new)
        if messages:
            self._open[lane, entry] = len(messages)
        return messages

    def release(self, lane: str, entry: str, count: int) -> None:
        """Messages of a frame are settled or handed back; they are no longer in our hands."""
        left = self._open.get((lane, entry), 0) - count
        if left > 0:
            self._open[lane, entry] = left
        else:
            self._open.pop((lane, entry), None)
            if self._released is not None:
                self._released.add((lane, entry))

    @contextlib.contextmanager
    def noting_released(self) -> Iterator[set[tuple[str, str]]]:
        """The frames that leave our hands meanwhile."""
        released = self._released = set()
        try:
            yield released
        finally:
            self._released = None

    def _messages(self, lane: str, entry: str, frame: Frame, marks: str, *, is_new: bool) -> list[Held]:
        refusal = UNAUTHENTIC_DELIVERY
        try:
            header, body = self._link.open(frame, Place.INBOX)
            deliveries: list[Delivery | None] = []
            if header.lane == lane:
                if is_new and self._is_repeated(header):
                    refusal = REPEATED_DELIVERY
                else:
                    deliveries.extend(DELIVERIES_DECODER.decode(body))
        except (DecryptionFailed, *UNREADABLE):
            deliveries = [None] * self._link.count_for_other_key(frame, lane)
        if not deliveries:
            log.error("delivery.refused", agent=self._agent_id, lane=lane, entry=entry, code=refusal)
            return [Held(lane, entry, 1, 0, None, refusal)]
        return [
            Held(lane, entry, len(deliveries), position, delivery)
            for position, delivery in enumerate(deliveries)
            if marks[position : position + 1] != "x"
        ]

    def _is_repeated(self, header: FrameHeader) -> bool:
        """Whether a frame that is delivered for the first time is one that was here before.

        The gateway counts, so in the order of a stream its frames have ever higher numbers.
        """
        name = (header.session, header.lane)
        if header.counter <= self._newest.get(name, 0):
            return True
        if len(self._newest) >= MAX_SESSIONS:
            self._newest.clear()
        self._newest[name] = header.counter
        return False
