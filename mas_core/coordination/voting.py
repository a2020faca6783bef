"""The machine of votes: opens proposals, takes signed ballots, ends rounds, and keeps the trail.

Each ballot gets a definite answer: counted, repeated (the same again), or a refusal. What was refused is in the
trail too, as far as there is room. A finished vote leaves its trail and stays known for a while, so that late
ballots and late questions are told what became of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

from mas_core.coordination.ballots import Sheet, ballot_bytes, is_signed, sheet_bytes
from mas_core.coordination.machine import Command, Refusal, Step
from mas_core.coordination.proposals import check_ranking, motion_of, proposal_of
from mas_core.coordination.tally import is_certain, tally_of
from mas_core.coordination.trail import decided_by, next_step, result_of
from mas_core.coordination.vote_book import VoteBook, electorate, open_view, vote_id
from mas_core.coordination.vote_requests import (
    MAX_TOGETHER,
    CastItem,
    CastRequest,
    CloseRequest,
    GetRequest,
    read_request,
    signature_bytes,
)
from mas_core.errors import InvalidPayload
from mas_core.model.registration import AgentKey
from mas_core.model.vote import (
    BY_CERTAINTY,
    BY_DEADLINE,
    DELEGATE,
    ESCALATE,
    ESCALATED,
    REVOTE,
    BallotSignature,
    CastBallot,
    Equivocation,
    Rejection,
    Round,
    Trail,
)

MAX_OPEN: Final = 50_000
MAX_REJECTIONS: Final = 64
"""Refused ballots that a round keeps; of more only the number."""
_WORD: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


KIND: Final = "vote"


class SigningKeys(Protocol):
    """Knows the public keys of agents."""

    def key(self, agent_id: str, key_id: str) -> AgentKey | None:
        """One key of an agent, valid or not."""


class VotingMachine:
    """All votes of one partition.

    Args:
        namespace: Of the system; ballots of another one do not count here.
        keys: Where the voters' public keys come from.
    """

    kind = KIND

    def __init__(self, namespace: str, keys: SigningKeys) -> None:
        self._namespace = namespace
        self._keys = keys
        self._book = VoteBook()
        self._verbs = {"open": self._open, "cast": self._cast, "get": self._get, "close": self._close}

    def load(self, records: Mapping[str, bytes]) -> None:
        """Start from what is stored."""
        self._book.load(records)

    def next_due(self) -> int:
        """When a round ends; 0 for never."""
        return self._book.next_due()

    def tick(self, now: int) -> Step:
        """End the rounds whose deadline has passed."""
        self._end_due(now)
        self._book.forget_old(now)
        return self._book.step("time")

    def command(self, command: Command) -> Step:
        """Carry out open, cast, get or close."""
        self._end_due(command.now)
        try:
            outcome = self._verbs.get(command.verb, _unknown)(command)
        except (InvalidPayload, Refusal) as error:
            # What was refused may be in the trail already, so this is a step like any other.
            outcome = error.code
            self._book.answer(command, {"message": error.message}, outcome)
        return self._book.step(outcome)

    # Opening

    def _open(self, command: Command) -> str:
        listed = command.data.get("proposals")
        if listed is None:
            self._book.answer(command, {"votes": [self._open_one(command, command.data)]})
            return "opened"
        if not isinstance(listed, list) or not 0 < len(listed) <= MAX_TOGETHER:
            raise InvalidPayload(f"a list has 1 to {MAX_TOGETHER} proposals")
        views, refused = [], ""
        for data in listed:
            try:
                views.append(self._open_one(command, data, is_listed=True))
            except (Refusal, InvalidPayload) as error:
                views.append({"error": {"code": error.code, "message": error.message}})
                refused = refused or error.code
        self._book.answer(command, {"votes": views})
        return refused or "opened"

    def _open_one(self, command: Command, data: object, *, is_listed: bool = False) -> dict[str, object]:
        motion = motion_of(data)
        word = motion.name
        if is_listed != bool(word) or (word and not _WORD.fullmatch(word)):
            raise InvalidPayload("each proposal of a list, and no other, has a name of letters, digits and -")
        name = vote_id(command.resource, word)
        book = self._book
        known = book.open.get(name) or book.ended.get(name)
        if known is not None:
            again = proposal_of(motion, name, command.sender, known.proposal.opened)
            if again != known.proposal:
                raise Refusal(
                    "already_open", f"{name} is another proposal already; what was opened does not change"
                )
            return book.view(name, documents=True)
        if len(book.open) >= MAX_OPEN:
            raise Refusal("too_many", f"{MAX_OPEN} proposals are open already")
        proposal = proposal_of(motion, name, command.sender, command.now)
        first = Round(1, command.now, command.now + proposal.deadline_ms, proposal.options)
        trail = Trail(self._namespace, proposal, [first])
        book.add(trail)
        book.list_event(
            "vote.opened",
            command.resource,
            id=name,
            digest=book.digest(trail),
            reason=f"{command.sender} proposes it to {len(proposal.participants)} participants",
        )
        return open_view(trail, documents=True)

    # Casting

    def _cast(self, command: Command) -> str:
        request = read_request(command.data, CastRequest)
        ids = [vote_id(command.resource, item.proposal) for item in request.ballots]
        if not ids or len(set(ids)) < len(ids):
            raise InvalidPayload("a sheet has at least one ballot, and one for each proposal")
        refusal = ""
        if request.voter and request.voter != command.sender:
            refusal = f"{command.sender} cannot vote for {request.voter[:70]}"
            code = "not_your_vote"
        key = self._keys.key(command.sender, request.key_id)
        leaves = [
            ballot_bytes(name, item.digest, item.round, command.sender, item.ranking)
            for name, item in zip(ids, request.ballots, strict=True)
        ]
        sheet = Sheet(leaves)
        value = signature_bytes(request.signature)
        if not refusal:
            code = "forged_ballot"
            signed = sheet_bytes(self._namespace, command.sender, request.key_id, len(leaves), sheet.root)
            if key is None or not key.is_valid(command.now):
                refusal = "the signature is not under a key of its sender that counts"
            elif not is_signed(key.signing_key, signed, value):
                refusal = "the signature does not fit the ballot, its proposal, its round and its voter"
        if refusal or key is None:
            for name, item in zip(ids, request.ballots, strict=True):
                if (trail := self._book.open.get(name)) is not None:
                    self._reject(trail, command, item, code, refusal)
            raise Refusal(code, refusal)
        results = []
        worst = ""
        for index, (name, item) in enumerate(zip(ids, request.ballots, strict=True)):
            signature = BallotSignature(
                request.key_id, key.signing_key, value, index, len(leaves), sheet.path(index)
            )
            code, reason = self._take(name, command, item, signature)
            results.append({"id": name, "outcome": code, **({"reason": reason} if reason else {})})
            if code not in {"counted", "repeated"}:
                worst = worst or code
        if len(results) == 1 and worst:
            raise Refusal(worst, str(results[0]["reason"]))
        self._book.answer(command, {"ballots": results})
        return worst or str(results[0]["outcome"])

    def _take(
        self, name: str, command: Command, item: CastItem, signature: BallotSignature
    ) -> tuple[str, str]:
        """One ballot whose signature is right: what becomes of it, and why."""
        trail = self._book.open.get(name)
        if trail is None:
            if name in self._book.ended:
                return "late_vote", f"{name} is decided already"
            return "not_found", f"there is no proposal {name}"
        turn, voter = trail.rounds[-1], command.sender
        ballot = CastBallot(voter, item.ranking, command.now, signature)
        if voter not in electorate(trail, turn) and not (
            turn.is_delegated and voter in trail.proposal.participants
        ):
            code, reason = (
                ("excluded", "it signed two different ballots before")
                if voter in trail.excluded
                else ("not_a_participant", f"{voter} is no participant of {name}")
            )
        elif item.digest != self._book.digest(trail):
            code, reason = "other_proposal", "the ballot is for another proposal than this"
        elif problem := check_ranking(trail.proposal, item.ranking, trail.proposal.options):
            code, reason = "invalid_ballot", problem
        elif not 0 < item.round <= turn.number:
            code, reason = (
                "wrong_round",
                f"the ballot is for round {item.round}, and this is round {turn.number}",
            )
        elif second := self._second(trail, trail.rounds[item.round - 1], ballot):
            return second
        elif item.round < turn.number or turn.closed:
            code, reason = "late_vote", f"round {item.round} is over"
        elif voter not in electorate(trail, turn):
            code, reason = "not_a_participant", f"the delegate {trail.proposal.delegate} decides now"
        elif problem := check_ranking(trail.proposal, item.ranking, turn.options):
            code, reason = "invalid_ballot", problem
        else:
            turn.ballots.append(ballot)
            self._book.changed(trail)
            self._end_if_certain(trail, command.now)
            return "counted", ""
        self._reject(trail, command, item, code, reason)
        return code, reason

    def _second(self, trail: Trail, turn: Round, ballot: CastBallot) -> tuple[str, str] | None:
        """What a ballot is of a voter who has voted in that round; None for one who has not."""
        voter = ballot.voter
        first = next((found for found in turn.ballots if found.voter == voter), None)
        if first is None or (trail.rounds[-1].closed and first.ranking != ballot.ranking):
            return None
        if first.ranking == ballot.ranking:
            return "repeated", ""
        if not trail.proposal.is_byzantine:
            reason = f"{voter} has voted already in this round"
            self._note(trail, Rejection(voter, ballot.at, "double_vote", reason, ballot.ranking))
            return "double_vote", reason
        now = trail.rounds[-1]
        now.ballots = [found for found in now.ballots if found.voter != voter]
        now.equivocations.append(Equivocation(voter, first, ballot, turn.number))
        reason = f"{voter} signed two different ballots for round {turn.number} and is excluded"
        self._book.event(
            "vote.equivocation", trail.proposal.id.partition("/")[0], reason, voter, id=trail.proposal.id
        )
        self._book.changed(trail)
        self._end_if_certain(trail, ballot.at)
        return "equivocation", reason

    def _reject(self, trail: Trail, command: Command, item: CastItem, code: str, reason: str) -> None:
        ranking = tuple(option[:100] for option in item.ranking[:64])
        self._note(trail, Rejection(command.sender, command.now, code, reason, ranking))

    def _note(self, trail: Trail, rejection: Rejection) -> None:
        turn = trail.rounds[-1]
        if len(turn.rejections) < MAX_REJECTIONS:
            turn.rejections.append(rejection)
        else:
            turn.rejections_left_out += 1
        self._book.changed(trail)

    # Asking and closing

    def _get(self, command: Command) -> str:
        request = read_request(command.data, GetRequest)
        rounds = request.proposals or {"": 0}
        ids = [vote_id(command.resource, word) for word in rounds]
        if len(ids) == 1 and ids[0] not in self._book.open and ids[0] not in self._book.ended:
            raise Refusal("not_found", f"there is no proposal {ids[0]} that is open or was lately")
        is_to_wait = (
            request.wait and command.wants_answer and not self._book.is_news(command.resource, rounds)
        )
        if not is_to_wait or not self._book.wait(command, rounds, documents=request.documents):
            self._book.answer(
                command, self._book.views(command.resource, rounds, documents=request.documents)
            )
        return "told"

    def _close(self, command: Command) -> str:
        request = read_request(command.data, CloseRequest)
        name = vote_id(command.resource, request.proposal)
        trail = self._book.open.get(name)
        if trail is None:
            if name in self._book.ended:
                raise Refusal("already_decided", f"{name} is decided already")
            raise Refusal("not_found", f"there is no proposal {name}")
        proposal = trail.proposal
        if trail.state == ESCALATED:
            if command.sender != proposal.operator:
                raise Refusal(
                    "not_yours", f"{name} waits for {proposal.operator}, and nobody else decides it"
                )
            choice = request.choice or ""
            if choice and choice not in proposal.options:
                raise InvalidPayload(f"{choice[:100]!r} is not one of the options")
            trail.operator_choice = choice
            reason = next_step(proposal, trail.rounds).reason
            self._finish(trail, choice, f"operator {proposal.operator}", reason, command.now)
        else:
            if command.sender != proposal.proposer:
                raise Refusal("not_yours", f"only {proposal.proposer}, who proposed {name}, can end it")
            if request.choice is not None:
                raise Refusal("not_escalated", f"{name} is still open, so its participants choose")
            self._end_round(trail, proposal.proposer, command.now)
        self._book.answer(command, self._book.view(name, documents=True))
        return "closed"

    # Rounds

    def _end_due(self, now: int) -> None:
        for trail in self._book.take_due(now):
            self._end_round(trail, BY_DEADLINE, now)

    def _end_if_certain(self, trail: Trail, now: int) -> None:
        turn = trail.rounds[-1]
        if turn.closed:
            return
        if turn.is_delegated:
            is_over = bool(turn.ballots)
        else:
            rankings = {ballot.voter: ballot.ranking for ballot in turn.ballots}
            is_over = trail.proposal.ends_early and is_certain(trail.proposal, rankings, trail.excluded)
        if is_over:
            self._end_round(trail, BY_CERTAINTY, now)

    def _end_round(self, trail: Trail, closed_by: str, now: int) -> None:
        proposal, turn = trail.proposal, trail.rounds[-1]
        turn.closed, turn.closed_by = now, closed_by
        turn.tally = tally_of(proposal, turn, trail.excluded)
        step = next_step(proposal, trail.rounds)
        turn.step = step.kind
        if step.kind in {REVOTE, DELEGATE}:
            number = turn.number + 1
            trail.rounds.append(
                Round(
                    number, now, now + proposal.deadline_ms, step.options, is_delegated=step.kind == DELEGATE
                )
            )
            self._book.schedule(trail)
        elif step.kind != ESCALATE:
            self._finish(trail, step.choice, decided_by(proposal, step, turn), step.reason, now)
            return
        resource = proposal.id.partition("/")[0]
        kind = {REVOTE: "vote.revote", DELEGATE: "vote.delegated"}.get(step.kind, "vote.escalated")
        self._book.list_event(kind, resource, id=proposal.id, round=turn.number, reason=step.reason)
        self._book.changed(trail)
        self._book.stir(trail)

    def _finish(self, trail: Trail, choice: str, decided: str, reason: str, now: int) -> None:
        proposal = trail.proposal
        result = result_of(proposal, choice, decided, reason, now)
        self._book.finish(trail, result)
        self._book.list_event(
            "vote.decided",
            proposal.id.partition("/")[0],
            id=proposal.id,
            outcome=result.outcome,
            choice=choice,
            decided_by=decided,
            trail=trail.digest(),
            reason=reason,
        )


def _unknown(command: Command) -> str:
    raise Refusal("unknown_verb", f"votes do not know vote.{command.verb[:40]}")
