"""Receipts of frames: made once all messages of a frame are judged, and remembered with the session."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.sessions import Session
from mas_core.gateway.transit import Transit
from mas_core.model.decision import Decision
from mas_core.model.frame import LAYOUT_ENDED, FrameHeader, FrameReceipt
from mas_core.store.commits import Commit

_ALLOWED = Decision.ALLOWED
_ENCODER = msgspec.msgpack.Encoder()


class FrameAnswers:
    """The frames of a batch that are not answered yet; `effects` gets what must be committed."""

    def __init__(self, outbound: Outbound, effects: list[Callable[[Commit], None]], partition: int) -> None:
        self._outbound = outbound
        self._effects = effects
        self._partition = partition
        self._unanswered: list[tuple[OpenedFrame, list[Transit]]] = []

    def add(self, frame: OpenedFrame, transits: list[Transit]) -> None:
        """A frame whose messages are under way."""
        self._unanswered.append((frame, transits))

    def answer_again(self, frame: OpenedFrame, header: FrameHeader, session: Session) -> None:
        """Answer a frame that is out of turn: with its receipt, or by saying which one is expected."""
        lane = frame.stored.lane
        expected = session.last.get(lane, 0) + 1
        known = session.receipt_of(lane, header.counter) if header.counter < expected else None
        asking = FrameReceipt(header.session, self._partition, lane, header.counter, expected=expected)
        self._outbound.receipt(session.agent_id, session.instance, session.key_id, known or asking)

    def answer_for_other_layout(self, frame: OpenedFrame, header: FrameHeader, session: Session) -> None:
        """Say that nothing of a frame was taken, since the partitions have changed since it was made."""
        receipt = FrameReceipt(
            header.session, self._partition, frame.stored.lane, header.counter, expected=LAYOUT_ENDED
        )
        self._outbound.receipt(session.agent_id, session.instance, session.key_id, receipt)

    def answer_all(self) -> None:
        """Make the receipts of the frames whose messages are judged, and remember them."""
        for frame, transits in self._unanswered:
            session, header = frame.session, frame.header
            if session is None or header is None:
                continue
            special = [
                (position, transit.receipt())
                for position, transit in enumerate(transits)
                if transit.decision is not _ALLOWED or transit.reason or transit.is_repeat
            ]
            lane, counter = frame.stored.lane, header.counter
            text = _ENCODER.encode(
                FrameReceipt(
                    header.session,
                    self._partition,
                    lane,
                    counter,
                    tuple(receipt for _, receipt in special),
                    tuple(position for position, _ in special),
                )
            )
            slot = session.keep_receipt(lane, counter, text)
            self._effects.append(_remember(session.agent_id, header.session, lane, counter, text, slot))
            self._outbound.receipt(session.agent_id, session.instance, session.key_id, text)
        self._unanswered.clear()


def _remember(
    agent_id: str, session: str, lane: str, counter: int, text: bytes, slot: int
) -> Callable[[Commit], None]:
    return lambda commit: commit.remember_session(agent_id, session, lane, counter, text, slot)
