"""Takes ballots: checks the signature of a sheet once, and says of each ballot what becomes of it.

Counted, repeated (the same again), or a refusal. Refused ballots are in the trail too, as far as there is room, so
whoever floods a vote with them fills no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from mas_core.coordination.ballots import Sheet, ballot_bytes, is_signed, sheet_bytes
from mas_core.coordination.machine import Command, Refusal
from mas_core.coordination.proposals import check_ranking
from mas_core.coordination.vote_book import VoteBook, is_in_electorate, vote_id
from mas_core.coordination.vote_requests import CastRequest, read_request, signature_bytes
from mas_core.errors import InvalidPayload
from mas_core.model.registration import AgentKey
from mas_core.model.vote import BallotSignature, CastBallot, Equivocation, Rejection, Round, Trail

MAX_REJECTIONS: Final = 64
"""Refused ballots that a round keeps; of more only the number."""
COUNTED: Final = "counted"
REPEATED: Final = "repeated"


class SigningKeys(Protocol):
    """Knows the public keys of agents."""

    def key(self, agent_id: str, key_id: str) -> AgentKey | None:
        """One key of an agent, valid or not."""


class Casting:
    """Takes the ballots of one partition's votes.

    Args:
        namespace: Of the system; ballots of another one do not count here.
        keys: Where the voters' public keys come from.
        book: The votes.
        end_if_certain: Ends a round that nothing can change any more.
    """

    def __init__(
        self,
        namespace: str,
        keys: SigningKeys,
        book: VoteBook,
        end_if_certain: Callable[[Trail, int], None],
    ) -> None:
        self._namespace = namespace
        self._keys = keys
        self._book = book
        self._end_if_certain = end_if_certain

    def cast(self, command: Command) -> str:
        """Take a sheet of ballots; what became of it in a word.

        Raises:
            InvalidPayload: It is no sheet.
            Refusal: No ballot of it counts.
        """
        request = read_request(command.data, CastRequest)
        items = [
            (vote_id(command.resource, word), group.round, group.ranking)
            for group in request.ballots
            for word in group.proposals
        ]
        if not items or len({name for name, _, _ in items}) < len(items):
            raise InvalidPayload("a sheet has at least one ballot, and one for each proposal")
        sheet = self._sheet(command.sender, items)
        value = signature_bytes(request.signature)
        key = self._keys.key(command.sender, request.key_id)
        code = refusal = ""
        if request.voter and request.voter != command.sender:
            code, refusal = "not_your_vote", f"{command.sender} cannot vote for {request.voter[:70]}"
        elif key is None or not key.is_valid(command.now):
            code, refusal = "forged_ballot", "the signature is not under a key of its sender that counts"
        elif not is_signed(
            key.signing_key,
            sheet_bytes(self._namespace, command.sender, request.key_id, len(items), sheet.root),
            value,
        ):
            code = "forged_ballot"
            refusal = "the signature does not fit the ballot, its proposal, its round and its voter"
        if key is None or refusal:
            for name, _, ranking in items:
                if (trail := self._book.open.get(name)) is not None:
                    self._reject(trail, command, ranking, code, refusal)
            raise Refusal(code, refusal)
        outcomes: dict[str, dict[str, str]] = {}
        worst = ""
        for index, (name, number, ranking) in enumerate(items):
            signature = BallotSignature(request.key_id, key.signing_key, value, index, len(items))
            ballot = CastBallot(command.sender, ranking, command.now, signature)
            outcome, reason = self._take(name, number, ballot, command, sheet)
            outcomes.setdefault(outcome, {})[name] = reason
            if outcome not in {COUNTED, REPEATED}:
                worst = worst or outcome
        if worst and len(items) == 1:
            raise Refusal(worst, outcomes[worst][items[0][0]])
        told = {outcome: list(names) for outcome, names in outcomes.items()}
        self._book.answer(command, {"ballots": told})
        return worst or next(iter(outcomes))

    def _sheet(self, voter: str, items: list[tuple[str, int, tuple[str, ...]]]) -> Sheet:
        leaves = []
        for name, number, ranking in items:
            digest = self._book.digest_of(name)
            if digest is None:
                raise Refusal("not_found", f"there is no proposal {name}")
            leaves.append(ballot_bytes(name, digest, number, voter, ranking))
        return Sheet(leaves)

    def _take(
        self, name: str, number: int, ballot: CastBallot, command: Command, sheet: Sheet
    ) -> tuple[str, str]:
        """One ballot whose signature is right: what becomes of it, and why."""
        trail = self._book.open.get(name)
        if trail is None:
            return "late_vote", f"{name} is decided already"
        proposal, turn, voter = trail.proposal, trail.rounds[-1], ballot.voter
        is_participant = voter in proposal.participants
        may_vote = is_in_electorate(trail, turn, voter)
        if not may_vote and not is_participant:
            code, reason = "not_a_participant", f"{voter} is no participant of {name}"
        elif is_participant and voter in trail.excluded:
            code, reason = "excluded", "it signed two different ballots before"
        elif problem := check_ranking(proposal, ballot.ranking, proposal.options):
            code, reason = "invalid_ballot", problem
        elif not 0 < number <= turn.number:
            code, reason = "wrong_round", f"the ballot is for round {number}, and this is round {turn.number}"
        elif second := self._second(trail, trail.rounds[number - 1], ballot, sheet):
            return second
        elif number < turn.number or turn.closed:
            code, reason = "late_vote", f"round {number} is over"
        elif not may_vote:
            code, reason = "not_a_participant", f"the delegate {proposal.delegate} decides now"
        elif problem := check_ranking(proposal, ballot.ranking, turn.options):
            code, reason = "invalid_ballot", problem
        else:
            self._book.add_ballot(trail, _with_path(ballot, sheet))
            self._end_if_certain(trail, command.now)
            return COUNTED, ""
        self._reject(trail, command, ballot.ranking, code, reason)
        return code, reason

    def _second(self, trail: Trail, turn: Round, ballot: CastBallot, sheet: Sheet) -> tuple[str, str] | None:
        """What a ballot is of a voter who has voted in that round; None for one who has not."""
        voter = ballot.voter
        first = next((found for found in turn.ballots if found.voter == voter), None)
        if first is None or (trail.rounds[-1].closed and first.ranking != ballot.ranking):
            return None
        if first.ranking == ballot.ranking:
            return REPEATED, ""
        if not trail.proposal.is_byzantine:
            reason = f"{voter} has voted already in this round"
            self._note(trail, Rejection(voter, ballot.at, "double_vote", reason, ballot.ranking))
            return "double_vote", reason
        now = trail.rounds[-1]
        now.ballots = [found for found in now.ballots if found.voter != voter]
        now.equivocations.append(Equivocation(voter, first, _with_path(ballot, sheet), turn.number))
        reason = f"{voter} signed two different ballots for round {turn.number} and is excluded"
        self._book.event(
            "vote.equivocation", trail.proposal.id.partition("/")[0], reason, voter, id=trail.proposal.id
        )
        self._book.changed(trail)
        self._end_if_certain(trail, ballot.at)
        return "equivocation", reason

    def _reject(
        self, trail: Trail, command: Command, ranking: tuple[str, ...], code: str, reason: str
    ) -> None:
        kept = tuple(option[:100] for option in ranking[:64])
        self._note(trail, Rejection(command.sender, command.now, code, reason, kept))

    def _note(self, trail: Trail, rejection: Rejection) -> None:
        turn = trail.rounds[-1]
        if len(turn.rejections) < MAX_REJECTIONS:
            turn.rejections.append(rejection)
            self._book.changed(trail)
        else:
            # Written with whatever else changes: a flood of these must not keep the store busy.
            turn.rejections_left_out += 1


def _with_path(ballot: CastBallot, sheet: Sheet) -> CastBallot:
    """A ballot with its way to what was signed."""
    signature = ballot.signature
    whole = BallotSignature(
        signature.key_id,
        signature.public_key,
        signature.value,
        signature.index,
        signature.count,
        sheet.path(signature.index),
    )
    return CastBallot(ballot.voter, ballot.ranking, ballot.at, whole)
