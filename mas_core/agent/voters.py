"""Agents that vote: a handler looks at a proposal, and what it returns is cast as its signed ballot."""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from mas_core.agent.consensus import Consensus
from mas_core.agent.handlers import on
from mas_core.agent.vote_messages import Choice
from mas_core.base.logs import get_logger
from mas_core.coordination.packing import unpacked
from mas_core.coordination.vote_requests import MAX_TOGETHER
from mas_core.errors import CoordinationRefused, InvalidIdentifier, InvalidPayload, NotFound, UsageError
from mas_core.model.json_text import misfit
from mas_core.model.message import AgentMessage
from mas_core.model.vote import PROPOSAL_TYPE, Proposal

log = get_logger(__name__)

VoterMethod = TypeVar("VoterMethod", bound=Callable[..., Awaitable[Any]])


class _Turn(msgspec.Struct):
    """What a proposer shows beside the proposal itself."""

    this_round: int
    these_options: tuple[str, ...]
    """Those that can be chosen in this round."""


def on_proposal(method: VoterMethod) -> VoterMethod:
    """Mark an async method that takes `(self, proposal)` as the one that votes; see `Agent.on_proposal`."""
    if not inspect.iscoroutinefunction(method):
        raise UsageError(f"{getattr(method, '__name__', 'the method')} must be an async method to vote")

    @functools.wraps(method)
    async def answer(agent: Any, asked: AgentMessage | Proposal) -> object:
        if isinstance(asked, Proposal):
            return await method(agent, asked)
        await _vote(agent, asked, functools.partial(method, agent))
        return None

    marked: Any = on(PROPOSAL_TYPE)(answer)
    return marked  # type: ignore[no-any-return]


async def _vote(agent: Any, message: AgentMessage, decide: Callable[[Proposal], Awaitable[Choice]]) -> None:
    try:
        shown = unpacked(message.data.get("proposals"), MAX_TOGETHER)
        proposals = msgspec.convert(shown, list[Proposal])
        turns = msgspec.convert(shown, list[_Turn])
    except msgspec.ValidationError as error:
        raise InvalidPayload(f"these are no proposals: {misfit(error)}") from None
    asked = []
    for proposal, turn in zip(proposals, turns, strict=True):
        if proposal.proposer == message.sender_id:
            asked.append((proposal, turn.this_round))
        else:
            log.warning("proposal.ignored", proposal=proposal.id[:170], sender=message.sender_id)
    consensus = Consensus(agent)
    open_ones: list[tuple[Proposal, int]] = []
    with _over(len(asked)):
        # A handler that runs again may choose otherwise, and a second ballot would exclude an honest voter.
        voted = await consensus.voted_on([proposal for proposal, _ in asked if proposal.is_byzantine])
        open_ones = [item for item in asked if voted.get(item[0].id, 0) < item[1]]
    ballots = [(proposal, await decide(proposal), number) for proposal, number in open_ones]
    outcomes: dict[str, str] = {}
    with _over(len(ballots)):
        outcomes = await consensus.vote_many(ballots)
    for outcome, count in Counter(outcomes.values()).items():
        # Late is usual: others have decided it already.
        if outcome not in {"counted", "repeated", "late_vote"}:
            log.warning("ballot.refused", proposals=count, outcome=outcome)


@contextmanager
def _over(proposals: int) -> Iterator[None]:
    """Log that a vote is over, or that there is none: trying again would not help."""
    try:
        yield
    except (CoordinationRefused, NotFound, InvalidIdentifier) as error:
        log.warning("ballot.refused", proposals=proposals, reason=error.message)
