"""Sending sessions: which frame comes next, and the receipts of the last ones.

A sender numbers its frames without gaps for each lane. So a frame that was added twice is recognised, one
that was lost is noticed, and order is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from mas_core.model.frame import MAX_UNANSWERED_FRAMES
from mas_core.security.seals import SealKey

MAX_CACHED_SESSIONS = 20_000


@dataclass(slots=True)
class Session:
    """One sending session of one running instance."""

    agent_id: str
    instance: str
    key_id: str
    seal_key: SealKey
    last: dict[str, int] = field(default_factory=dict)
    """Lane -> counter of the last accepted frame."""
    receipts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """(lane, slot) -> the encoded receipt of a recent frame."""
    is_known: bool = False
    """Whether `last` and `receipts` are what the store says."""

    def learn(self, fields: dict[str, bytes]) -> None:
        """Take over what the store knows of this session."""
        for name, value in fields.items():
            kind, _, rest = name.partition(":")
            if kind == "last":
                self.last[rest] = int(value)
            elif kind == "receipt":
                lane, _, slot = rest.partition(":")
                self.receipts[lane, int(slot)] = value
        self.is_known = True

    def keep_receipt(self, lane: str, counter: int, receipt: bytes) -> int:
        """Keep the receipt of a frame that was judged; the slot in which it is kept."""
        slot = counter % MAX_UNANSWERED_FRAMES
        self.receipts[lane, slot] = receipt
        return slot

    def receipt_of(self, lane: str, counter: int) -> bytes | None:
        """The receipt of a recent frame."""
        if counter <= self.last.get(lane, 0) - MAX_UNANSWERED_FRAMES:
            return None
        return self.receipts.get((lane, counter % MAX_UNANSWERED_FRAMES))


class Sessions:
    """The sessions that an owner has seen lately."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def get(self, agent_id: str, session: str) -> Session | None:
        """A session of an agent that is in memory."""
        found = self._sessions.get((agent_id, session))
        if found is not None:
            self._sessions.move_to_end((agent_id, session))
        return found

    def add(self, name: str, session: Session) -> None:
        """Keep a session under the agent's name for it; the one unused longest goes when there are too many."""
        self._sessions[session.agent_id, name] = session
        if len(self._sessions) > MAX_CACHED_SESSIONS:
            self._sessions.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: the store knows."""
        self._sessions.clear()
