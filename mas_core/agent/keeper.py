"""Keeps the state of a running agent: loads it, hands out copies to turns, commits changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec

from mas_core.agent.turn import MustRunAlone, Turn, current_turn
from mas_core.base.logs import get_logger
from mas_core.errors import InvalidPayload, StateChanged, StateInvalid, UsageError
from mas_core.state.state_shape import StateShape
from mas_core.store.contract import AgentStreams

log = get_logger(__name__)

S = TypeVar("S")

ATTEMPTS = 16


class StateKeeper(Generic[S]):
    """The state of one agent, as one instance knows it."""

    def __init__(self, store: AgentStreams, shape: StateShape[S]) -> None:
        self._store = store
        self._shape = shape
        self._state: Any = shape.default()
        self._revision = 0
        self.problem = ""
        """Why what is stored cannot be used; empty when it can."""
        self.looked_at = 0
        """Revision of the newest state of an operator that was looked at."""
        self.alone = asyncio.Lock()
        """Held by turns that change the state, so that they do not spoil each other's work."""

    @property
    def state(self) -> S:
        """The state: a turn's own copy inside a handler."""
        turn = self._turn()
        if turn is None:
            return cast("S", self._state)
        self._give_copy(turn)
        return cast("S", turn.state)

    async def load(self) -> None:
        """Read the state from the store.

        Raises:
            StateInvalid: Somebody stored one that does not fit the model; the old one stays.
        """
        revision, text = await self._store.get_state()
        try:
            self._state = self._shape.decode(text)
        except (InvalidPayload, msgspec.DecodeError, UnicodeDecodeError) as error:
            reason = error.message if isinstance(error, InvalidPayload) else "it is no JSON"
            agent_id = self._store.agent_id
            log.error("state.refused", agent=agent_id, revision=revision, reason=reason)
            self.problem = reason
            raise StateInvalid(
                f"the stored state of {agent_id} (revision {revision}) cannot be used: {reason}",
                hint=(f"mas state get {agent_id}", f"mas state set {agent_id} PATH VALUE"),
                revision=revision,
            ) from None
        self._revision = revision
        self.problem = ""
        turn = self._turn()
        if turn is not None and not turn.has_changed_state:
            turn.state = None

    @property
    def model_name(self) -> str:
        """Name of the model of the state; empty for a plain dict."""
        return self._shape.model.__name__ if self._shape.model is not None else ""

    async def look(self) -> bool:
        """Take over what an operator has set, if it fits; whether there was something new.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        ordered = await self._store.ordered_state_revision()
        if ordered <= self.looked_at:
            return False
        async with self.alone:
            with contextlib.suppress(StateInvalid):
                await self.load()
        self.looked_at = ordered
        return True

    async def update(self, changes: Mapping[str, object], fence: tuple[str, int] | None = None) -> None:
        """Change fields of the state, in the turn or at once; with a fence only at once.

        Raises:
            LeadershipLost: The fence is of a term that is over.
        """
        await self._change(lambda state: self._shape.updated(state, changes), fence)

    async def reset(self) -> None:
        """Set the state back to its defaults, in the turn or at once."""
        await self._change(lambda _: self._shape.default())

    async def backlog(self) -> dict[str, int]:
        """Unsettled messages of each lane."""
        return await self._store.backlog()

    def committed(self, turn: Turn) -> None:
        """Take over the state of a turn that was settled."""
        if turn.revision + 1 > self._revision:
            self._state, self._revision = turn.state, turn.revision + 1

    def encoded(self, turn: Turn) -> bytes:
        """The text of a turn's state."""
        return self._shape.encode(turn.state)

    async def _change(self, edit: Callable[[object], Any], fence: tuple[str, int] | None = None) -> None:
        turn = self._turn()
        if turn is not None and fence is not None:
            raise UsageError("in a handler the state is committed with its message, and takes no fence")
        if turn is not None:
            if not turn.is_alone:
                await self._let_be_alone(turn)
            self._give_copy(turn)
            turn.state = edit(turn.state)
            turn.has_changed_state = True
            return
        for _ in range(ATTEMPTS):
            changed = edit(self._state)
            done, revision = await self._store.set_state(
                self._revision, self._shape.encode(changed), fence=fence
            )
            if done:
                self._state, self._revision = changed, revision
                return
            await self.load()
        raise StateChanged(f"the state of {self._store.agent_id} is being changed by others all the time")

    async def _let_be_alone(self, turn: Turn) -> None:
        if not turn.runs_once:
            raise MustRunAlone
        await self.alone.acquire()
        turn.holds_lock = turn.is_alone = True
        if turn.state is not None and turn.revision != self._revision:
            raise StateChanged(
                f"another handler of {self._store.agent_id} has changed the state since this one looked at it, "
                "and it may not run again: its message is handled at most once"
            )

    def _give_copy(self, turn: Turn) -> None:
        if turn.state is None:
            turn.state = self._shape.copy(self._state)
            turn.revision = self._revision

    def _turn(self) -> Turn | None:
        turn = current_turn.get()
        return turn if turn is not None and turn.agent_id == self._store.agent_id else None
