"""A turn: one run of one handler, with the messages it sends and the state it leaves behind.

What a turn does takes effect once. Ids of messages that it sends derive from the message it handles, so a
second run sends nothing twice; its state is committed together with the settlement of its message.
"""

from __future__ import annotations

from contextvars import ContextVar

import msgspec

from mas_core.base.ids import derived_message_id
from mas_core.model.message import AgentMessage, Envelope
from mas_core.model.trace_context import TraceContext


class Turn(msgspec.Struct):
    """The handling of one message."""

    message_id: str
    agent_id: str
    is_alone: bool = True
    """Whether no other turn that changes the state runs in this instance."""
    sent: int = 0
    state: object = None
    """The turn's own copy of the state; None until the handler looks at it."""
    revision: int = 0
    """Revision of the state that the copy was made of."""
    has_changed_state: bool = False
    has_replied: bool = False
    """Whether the handler has sent the final reply itself."""
    answers: list[tuple[AgentMessage, Envelope]] = []
    """What is answered, and final replies to it that wait until the state is committed, or are dropped."""
    has_committed: bool = False
    """Whether its state is committed, so that nothing has to wait for that any more."""
    runs_once: bool = False
    """Whether the handler may not be begun a second time."""
    holds_lock: bool = False
    """Whether it came to be alone in the middle, because it runs once and changes the state."""
    message: AgentMessage | None = None
    """What is handled, for the trace context of what is sent."""
    trace: TraceContext | None = None
    """In which context it sends, once that is known."""
    failure: str = ""
    """Code of the error that it ended with."""
    is_over: bool = False
    """Whether it ended, well or badly, and will not be run again."""

    def holds(self, *, final: bool, error: bool) -> bool:
        """Whether a reply has to wait: the state that it may tell of is not committed, and may never be."""
        return final and not error and self.has_changed_state and not self.has_committed

    def next_message_id(self) -> str:
        """Id for the next message that the handler sends."""
        self.sent += 1
        return derived_message_id(self.message_id, self.agent_id, self.sent)


class MustRunAlone(BaseException):
    """A turn that runs beside others wants to change the state: it ends here and runs again alone.

    Side by side, turns would undo each other's work and answer from states that never came to be. Not an
    `Exception`, so that a handler which catches those does not swallow it.
    """


current_turn: ContextVar[Turn | None] = ContextVar("current_turn", default=None)
