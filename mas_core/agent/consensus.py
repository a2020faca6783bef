"""Proposals and votes: open a proposal, ask the participants, cast signed ballots, wait for the result.

Everything goes to the resource `vote:ID` through the gateway. The proposer's side asks the participants itself,
with a message `consensus.proposal` to each, and again for each further round; each is subject to the policy like
any message. Who casts a ballot signs it over the proposal as it was shown, so a proposer who shows others something
else gets no ballots that count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from mas_core.agent.client import Client
from mas_core.agent.resources import ask
from mas_core.agent.vote_messages import Choice, View, chunks_of, proposals_of, sheet_of, views_of
from mas_core.base.ids import new_message_id
from mas_core.base.logs import get_logger
from mas_core.coordination.packing import packed
from mas_core.coordination.vote_book import document
from mas_core.coordination.vote_requests import MAX_TOGETHER
from mas_core.coordination.voting import KIND
from mas_core.errors import (
    CoordinationRefused,
    DeadlineExceeded,
    Forbidden,
    InvalidPayload,
    MasError,
    ResourceNotFound,
)
from mas_core.model.vote import PROPOSAL_TYPE, Motion, Proposal, Result

WAIT_S = 10.0
"""How long a question waits at the gateway before it is asked again: who waits is in the gateway's memory."""
RETRY_S = 0.5
"""Pause after the gateway could not be reached, or did not let us wait."""
ANSWER_S = 5.0
"""How long an answer may take beyond the waiting."""
log = get_logger(__name__)


class _HasClient(Protocol):
    @property
    def client(self) -> Client:
        """The client of an agent that is started."""


@dataclass(slots=True)
class OpenVote:
    """A proposal of one's own that is open.

    Attributes:
        proposal: As it was opened.
        unreached: Participant -> why it could not be asked; whoever it is may vote all the same.
    """

    proposal: Proposal
    consensus: Consensus
    round: int = 1
    unreached: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id of the proposal."""
        return self.proposal.id

    async def wait(self, timeout: float | None = None) -> Result:
        """Wait for the result, and ask the participants again whenever another round begins.

        Args:
            timeout: Seconds; as long as it takes when left out.

        Raises:
            DeadlineExceeded: There is none yet.
        """
        return (await self.consensus.wait([self], timeout))[self.id]


class Consensus:
    """Votes of one agent.

    Args:
        agent: An agent or a client, started.
    """

    def __init__(self, agent: Client | _HasClient) -> None:
        self._client = agent if isinstance(agent, Client) else agent.client

    async def propose(
        self,
        title: str,
        participants: Iterable[str] | Mapping[str, int | float],
        *,
        proposal_id: str = "",
        is_asking: bool = True,
        **terms: object,
    ) -> OpenVote:
        """Open a proposal and ask its participants.

        Args:
            title: What is proposed, in a line.
            participants: Who may vote; with weights where votes do not all count the same.
            proposal_id: Words of letters, digits, `_` and `-`, joined by dots; a new one when left out. The same
                proposal again under the same id is the same vote.
            is_asking: Whether a message goes to each participant.
            terms: Other fields of `Motion`, such as `strategy`, `deadline` or `options`.

        Raises:
            InvalidPayload: It contradicts itself, or leaves bounds.
            CoordinationRefused: The id is that of another proposal.
            Forbidden: No rule lets this agent propose it.
        """
        named: object = dict(participants) if isinstance(participants, Mapping) else list(participants)
        data = {"title": title, "participants": named, **terms}
        return await self._propose(data, proposal_id, is_asking=is_asking)

    async def propose_motion(
        self, motion: Motion, proposal_id: str = "", *, is_asking: bool = True
    ) -> OpenVote:
        """As `propose`, for what is put into words already."""
        return await self._propose(msgspec.to_builtins(motion), proposal_id, is_asking=is_asking)

    async def _propose(self, data: dict[str, object], proposal_id: str, *, is_asking: bool) -> OpenVote:
        name = proposal_id or new_message_id()
        try:
            answer = await ask(self._client, KIND, name, "open", data)
        except Forbidden as error:
            if proposal_id:
                raise
            # The next one has another id, so a rule for this one alone would help nobody.
            one, all_of_them = f" {KIND}:{name} --action", f" '{KIND}:>' --action"
            hint = [line.replace(one, all_of_them) for line in error.hint]
            raise Forbidden(error.message, hint=hint, **error.details) from None
        [view], [proposal] = views_of(answer), proposals_of(answer)
        vote = OpenVote(proposal, self, view.round)
        if is_asking and view.result is None:
            await self._ask_all([(vote, view)])
        return vote

    async def propose_many(
        self, motions: Sequence[Motion], *, name: str = "", is_asking: bool = True
    ) -> list[OpenVote]:
        """Open many proposals at once and ask the participants, each with one message for all of them.

        Args:
            motions: The proposals; those without a name are numbered.
            name: Of the resource that they lie in; a new one when left out. Their ids are `name/word`.
            is_asking: Whether messages go to the participants.

        Raises:
            InvalidPayload: One of them contradicts itself; the others are open.
            CoordinationRefused: An id is that of another proposal; the others are open.
            Forbidden: No rule lets this agent propose them.
        """
        resource = name or new_message_id()
        named = [
            msgspec.structs.replace(motion, name=motion.name or str(number))
            for number, motion in enumerate(motions)
        ]
        opened: list[tuple[OpenVote, View]] = []
        problem: MasError | None = None
        for chunk in chunks_of([msgspec.to_builtins(motion) for motion in named]):
            answer = await ask(self._client, KIND, resource, "open", {"proposals": packed(chunk)})
            for view, proposal in zip(views_of(answer), proposals_of(answer), strict=True):
                opened.append((OpenVote(proposal, self, view.round), view))
            errors = answer.get("errors")
            for error in errors if isinstance(errors, list) else ():
                problem = problem or _problem(error, resource)
        if is_asking:
            await self._ask_all([(vote, view) for vote, view in opened if view.result is None])
        if problem:
            raise problem
        return [vote for vote, _ in opened]

    async def vote(self, proposal: Proposal | str, choice: Choice, *, round_number: int = 0) -> str:
        """Cast a signed ballot.

        Args:
            proposal: As it was shown, or its id; then it is asked for.
            choice: An option; options by preference in a ranked vote; None for an abstention.
            round_number: The round that it is for; the present one when left out.

        Returns:
            counted, or repeated where the same ballot was there already.

        Raises:
            CoordinationRefused: It does not count; `details["agent_code"]` says why: double_vote, late_vote...
            ResourceNotFound: There is no such proposal.
            Forbidden: No rule lets this agent vote on it.
        """
        if isinstance(proposal, str) or not round_number:
            view, known = await self._known_to_voter(proposal if isinstance(proposal, str) else proposal.id)
            round_number = round_number or view.round
            proposal = known if isinstance(proposal, str) else proposal
        outcomes = await self.vote_many([(proposal, choice, round_number)])
        return outcomes[proposal.id]

    async def vote_many(self, ballots: Iterable[tuple[Proposal, Choice, int]]) -> dict[str, str]:
        """Cast ballots on many proposals, those of one list under one signature.

        Args:
            ballots: Proposal, choice and round of each.

        Returns:
            Id of each proposal -> counted, repeated, or the code of why it does not count.

        Raises:
            CoordinationRefused: A ballot that was cast alone does not count.
            Forbidden: No rule lets this agent vote on them.
        """
        sheets: dict[str, list[tuple[Proposal, Choice, int]]] = {}
        for item in ballots:
            sheets.setdefault(item[0].id.partition("/")[0], []).append(item)
        outcomes: dict[str, str] = {}
        for resource, items in sheets.items():
            for at in range(0, len(items), MAX_TOGETHER):
                sheet = sheet_of(self._client.link, items[at : at + MAX_TOGETHER])
                answer = await ask(self._client, KIND, resource, "cast", sheet)
                for outcome, names in msgspec.convert(answer["ballots"], dict[str, list[str]]).items():
                    outcomes.update(dict.fromkeys(names, outcome))
        return outcomes

    async def voted_on(self, proposals: Iterable[Proposal]) -> dict[str, int]:
        """Id -> the present round of those of these proposals on which this agent has voted, or that are over."""
        resources: dict[str, dict[str, int]] = {}
        for proposal in proposals:
            resource, _, word = proposal.id.partition("/")
            resources.setdefault(resource, {})[word] = 0
        found: dict[str, int] = {}
        for resource, words in resources.items():
            answer = await ask(self._client, KIND, resource, "get", {"proposals": words, "documents": False})
            for view in views_of(answer):
                has_voted = self._client.agent_id in view.voted
                found[view.id] = view.round if has_voted or view.result is not None else view.round - 1
        return found

    async def status(self, proposal_id: str) -> dict[str, object]:
        """What is known of a proposal that is open or was lately.

        Raises:
            ResourceNotFound: It is neither.
        """
        view, proposal = await self._known(proposal_id)
        told = {"proposal": msgspec.to_builtins(proposal), **msgspec.to_builtins(view)}
        return {name: value for name, value in told.items() if value is not None}

    async def close(self, proposal_id: str, choice: str | None = None) -> dict[str, object]:
        """End a vote of one's own now, by the ballots that are there; or decide one that waits for this agent.

        Args:
            proposal_id: Of the proposal.
            choice: What an escalated vote is decided for; empty for no option.

        Raises:
            CoordinationRefused: It is not this agent's to end, or decided already.
            ResourceNotFound: There is no such proposal.
        """
        resource, _, word = proposal_id.partition("/")
        data = {"proposal": word, **({} if choice is None else {"choice": choice})}
        return await ask(self._client, KIND, resource, "close", data)

    async def wait(self, votes: Sequence[OpenVote], timeout: float | None = None) -> dict[str, Result]:
        """Wait for the results of proposals of one's own; participants are asked again for further rounds.

        Args:
            votes: As `propose` and `propose_many` returned them.
            timeout: Seconds; as long as it takes when left out.

        Returns:
            Id -> result.

        Raises:
            DeadlineExceeded: Some have none yet.
        """
        until = float("inf") if timeout is None else time.monotonic() + timeout
        resources: dict[str, dict[str, OpenVote]] = {}
        for vote in votes:
            resource, _, word = vote.id.partition("/")
            resources.setdefault(resource, {})[word] = vote
        found = await asyncio.gather(
            *(self._results(resource, waiting, until) for resource, waiting in resources.items())
        )
        return {name: result for results in found for name, result in results.items()}

    async def _results(self, resource: str, waiting: dict[str, OpenVote], until: float) -> dict[str, Result]:
        results: dict[str, Result] = {}
        while waiting:
            began = time.monotonic()
            left = until - began
            if left <= 0:
                raise DeadlineExceeded(
                    f"{len(waiting)} of {len(waiting) + len(results)} proposals are not decided yet",
                    hint=f"mas consensus status {resource}",
                )
            rounds = {word: vote.round for word, vote in list(waiting.items())[:MAX_TOGETHER]}
            wait_s = min(WAIT_S, left)
            data = {"proposals": rounds, "wait_ms": int(wait_s * 1000), "documents": False}
            try:
                answer = await ask(self._client, KIND, resource, "get", data, timeout=wait_s + ANSWER_S)
            except MasError as error:
                if not error.retryable:
                    raise
                log.warning("votes.unreachable", votes=resource, reason=error.message)
                await asyncio.sleep(min(RETRY_S, left))
                continue
            before = len(waiting)
            begun = []
            for view in views_of(answer):
                word = view.id.partition("/")[2]
                vote = waiting[word]
                if view.result is not None:
                    results[view.id] = view.result
                    del waiting[word]
                elif not view.round:
                    raise ResourceNotFound(f"there is no proposal {view.id} any more", resource=view.id)
                elif view.round > vote.round:
                    vote.round = view.round
                    begun.append((vote, view))
            await self._ask_all(begun)
            if len(waiting) == before and not begun and time.monotonic() - began < wait_s / 2:
                # Too many wait at the gateway, so that it answers at once.
                await asyncio.sleep(RETRY_S)
        return results

    async def _known_to_voter(self, proposal_id: str) -> tuple[View, Proposal]:
        """The same for somebody who wants to vote: that is what a refusal names, as voters may look on too."""
        try:
            return await self._known(proposal_id)
        except Forbidden as error:
            look = " --action observe"
            if not any(line.endswith(look) for line in error.hint):
                raise
            me, vote = self._client.agent_id, f"{KIND}:{proposal_id.partition('/')[0]}"
            raise Forbidden(
                f"{me} may not vote on {vote}",
                hint=[
                    f"mas rbac explain {me} {vote} {KIND}.cast",
                    *(line.replace(look, " --action vote") for line in error.hint if line.endswith(look)),
                ],
                **{**error.details, "type": f"{KIND}.cast", "because": "no rule allows it"},
            ) from None

    async def _known(self, proposal_id: str) -> tuple[View, Proposal]:
        resource, _, word = proposal_id.partition("/")
        answer = await ask(self._client, KIND, resource, "get", {"proposals": {word: 0}})
        [view], [proposal] = views_of(answer), proposals_of(answer)
        return view, proposal

    async def _ask_all(self, votes: Sequence[tuple[OpenVote, View]]) -> None:
        """Show the proposals to those who may vote now."""
        shown: dict[str, list[OpenVote]] = {}
        items: dict[str, dict[str, object]] = {}
        for vote, view in votes:
            items[vote.id] = {
                **document(vote.proposal),
                "this_round": view.round,
                "these_options": view.options,
            }
            for voter in view.electorate:
                if voter != self._client.agent_id:
                    shown.setdefault(voter, []).append(vote)
        # Mostly all voters are shown the same.
        bodies: dict[tuple[str, ...], list[dict[str, object]]] = {}
        for open_votes in shown.values():
            names = tuple(vote.id for vote in open_votes)
            if names not in bodies:
                chunks = chunks_of([items[name] for name in names])
                bodies[names] = [{"proposals": packed(chunk)} for chunk in chunks]
        await asyncio.gather(
            *(
                self._show(voter, open_votes, bodies[tuple(vote.id for vote in open_votes)])
                for voter, open_votes in shown.items()
            )
        )

    async def _show(self, voter: str, votes: Sequence[OpenVote], bodies: Sequence[dict[str, object]]) -> None:
        ttl = max(1.0, max(vote.proposal.deadline_ms for vote in votes) / 1000)
        for body in bodies:
            try:
                await self._client.send(voter, PROPOSAL_TYPE, body, ttl=ttl)
            except MasError as error:
                for vote in votes:
                    vote.unreached[voter] = error.code


def _problem(error: Mapping[str, str], resource: str) -> MasError:
    if error["code"] == InvalidPayload.code:
        return InvalidPayload(error["message"])
    return CoordinationRefused(error["message"], resource=f"{KIND}:{resource}", agent_code=error["code"])
