"""A panel of five reviewers decides four questions, and catches one of them voting twice.

`python examples/voting_panel/panel.py [AGENTS]` runs everything in this process; no server is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from mas_core import Agent, CoordinationRefused, Proposal

URL = "memory://panel"


class Reviewer(Agent):
    """Votes as it was told: title of a proposal -> its choice, or one for each round."""

    def __init__(self, name: str, opinions: dict[str, Any]) -> None:
        super().__init__(name, redis_url=URL)
        self.opinions = opinions

    @Agent.on_proposal
    async def decide(self, proposal: Proposal) -> str | bool | list[str] | None:
        """Its opinion, or the next one of several."""
        opinion = self.opinions.get(proposal.title, True)
        return opinion.pop(0) if isinstance(opinion, list) else opinion


OPINIONS: dict[str, dict[str, Any]] = {
    "ann": {"Where?": ("eu", "us"), "Now or later?": ["now", "now"]},
    "bob": {"Where?": ("us", "eu"), "Now or later?": ["now", "now"]},
    "cat": {"Where?": ("asia", "us"), "Now or later?": ["later", "now"], "Deploy?": False},
    "dan": {"Where?": ("us",), "Now or later?": ["later", "later"], "Deploy?": False},
    "eve": {"Where?": ("eu", "asia"), "Now or later?": [None, None], "Trust eve?": False},
}
GUEST: dict[str, Any] = {"Where?": ("us",), "Now or later?": ["now", "now"]}
"""What further ones say."""


async def main(agents: int = len(OPINIONS), say: Callable[[str], object] = print) -> None:
    """Four votes, a line each."""
    names = [*OPINIONS][-agents:] + [f"guest-{number}" for number in range(len(OPINIONS), agents)]
    async with AsyncExitStack() as stack:
        panel = [Reviewer(name, copy.deepcopy(OPINIONS.get(name, GUEST))) for name in names]
        for reviewer in panel:
            await stack.enter_async_context(reviewer)
        chair = await stack.enter_async_context(Agent("chair", redis_url=URL))
        votes = chair.consensus

        plain = await votes.propose("Deploy?", names)
        ranked = await votes.propose("Where?", names, strategy="ranked", options=["eu", "us", "asia"])
        tied = await votes.propose(
            "Now or later?", names, options=["now", "later"], early=False, deadline=1, on_tie="revote"
        )
        for vote in (plain, ranked, tied):
            result = await vote.wait(20)
            rounds = f" in round {vote.round}" if vote.round > 1 else ""
            say(f"{vote.proposal.title:<14} {result.choice}{rounds}")

        strict = await votes.propose("Trust eve?", names, byzantine=True, is_asking=False)
        eve = panel[names.index("eve")]
        await eve.consensus.vote(strict.id, True)
        try:
            await eve.consensus.vote(strict.id, False)
        except CoordinationRefused as error:
            say(f"{strict.proposal.title:<14} {error.message}")
        for reviewer in panel:
            if reviewer is not eve:
                with contextlib.suppress(CoordinationRefused):  # enough may have voted by now
                    await reviewer.consensus.vote(strict.id, False)
        result = await strict.wait(20)
        say(f"{strict.proposal.title:<14} {result.choice}, {result.outcome} by {result.decided_by}")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:2])))
