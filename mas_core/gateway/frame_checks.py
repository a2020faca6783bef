"""Whether a frame that opened may be judged: its token counts, it is of this time, and its messages can be read.

What does not open, or comes a second time, is recorded and goes no further.
"""

from __future__ import annotations

from mas_core.gateway.decided_ids import REPLAY_WINDOW_MS
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.sessions import Session
from mas_core.gateway.transit import Verdict
from mas_core.model.decision import Decision
from mas_core.model.frame import FrameHeader


class FrameChecks:
    """Checks of whole frames.

    Args:
        directory: The keys of agents.
        ledger: Takes the records.
        frames_since: Frames from before then do not count, in Unix milliseconds.
    """

    def __init__(self, directory: Directory, ledger: Ledger, frames_since: int) -> None:
        self._directory = directory
        self._ledger = ledger
        self._frames_since = frames_since

    def refusal(self, frame: OpenedFrame, session: Session, now: int) -> Verdict | None:
        """Why no message of a frame is judged; None when they are."""
        key = self._directory.key(session.agent_id, session.key_id)
        if key is None or key.revoked:
            return Verdict(
                Decision.UNAUTHENTICATED, "Authentication failed: the token was revoked", "token_revoked"
            )
        if not key.is_valid(now):
            return Verdict(
                Decision.UNAUTHENTICATED, "Authentication failed: the token has expired", "token_expired"
            )
        # Sessions are remembered for twice as long, so a frame of either side of the window never comes anew.
        if frame.header is not None and abs(now - frame.header.time) > REPLAY_WINDOW_MS:
            return Verdict(Decision.EXPIRED, "the frame is not of the time of the replay window")
        if frame.header is not None and frame.header.time < self._frames_since:
            return Verdict(
                Decision.EXPIRED, "the frame is older than the restore of the system and may have been judged"
            )
        if frame.envelopes is None:
            return Verdict(Decision.INVALID, "the frame holds no readable messages")
        return None

    def record_rejection(self, frame: OpenedFrame, now: int) -> None:
        """A frame did not open."""
        claimed = frame.header.agent if frame.header else ""
        self._ledger.record_event(
            "frame",
            now,
            decision=Decision.UNAUTHENTICATED,
            reason=f"Authentication failed: {frame.rejection}",
            details={"claimed_sender": claimed[:64], "lane": frame.stored.lane, "entry": frame.stored.entry},
        )

    def record_repetition(self, frame: OpenedFrame, header: FrameHeader, now: int) -> None:
        """A frame came again: its sender missed the receipt, or somebody plays it back."""
        self._ledger.record_event(
            "frame",
            now,
            decision=Decision.REPLAYED,
            reason="the frame was judged before; nothing was delivered again",
            sender=header.agent,
            instance=header.instance,
            details={"session": header.session, "counter": header.counter, "lane": frame.stored.lane},
        )
