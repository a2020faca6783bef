"""The machine of votes: opens proposals, has ballots taken, ends rounds, and keeps the trail.

A finished vote leaves its trail and stays known for a while, so that late ballots and late questions are told what
became of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from mas_core.coordination.casting import Casting, SigningKeys
from mas_core.coordination.machine import Command, Refusal, Step
from mas_core.coordination.packing import unpacked
from mas_core.coordination.proposals import motion_of, proposal_of
from mas_core.coordination.tally import is_certain, tally_of
from mas_core.coordination.trail import decided_by, next_step, result_of
from mas_core.coordination.vote_book import VoteBook, vote_id
from mas_core.coordination.vote_requests import (
    MAX_TOGETHER,
    CloseRequest,
    GetRequest,
    read_request,
)
from mas_core.errors import InvalidPayload
from mas_core.model.vote import (
    BY_CERTAINTY,
    BY_DEADLINE,
    DELEGATE,
    ESCALATE,
    ESCALATED,
    REVOTE,
    Round,
    Trail,
)

MAX_OPEN: Final = 20_000
MAX_OPENED_BYTES: Final = 4_000_000
"""Of proposals that one message opens: what they have in common is said once there, and stored for each."""
_WORD: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


KIND: Final = "vote"


class VotingMachine:
    """All votes of one partition.

    Args:
        namespace: Of the system; ballots of another one do not count here.
        keys: Where the voters' public keys come from.
    """

    kind = KIND

    def __init__(self, namespace: str, keys: SigningKeys) -> None:
        self._namespace = namespace
        self._book = VoteBook()
        self._room = MAX_OPENED_BYTES
        self._casting = Casting(namespace, keys, self._book, self._end_if_certain)
        self._verbs = {"open": self._open, "cast": self._casting.cast, "get": self._get, "close": self._close}

    def load(self, records: Mapping[str, bytes]) -> None:
        """Start from what is stored."""
        self._book.load(records)

    def waiting(self) -> list[Command]:
        """Those who wait for results."""
        return self._book.waiting()

    def send_away(self, command: Command) -> Step:
        """It is told how the votes stand."""
        return self.command(command)

    def next_due(self) -> int:
        """When a round ends; 0 for never."""
        return self._book.next_due()

    def tick(self, now: int) -> Step:
        """End the rounds whose deadline has passed."""
        self._end_due(now)
        self._book.end_waiting(now)
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
        self._room = MAX_OPENED_BYTES
        if "proposals" not in command.data:
            name = self._open_one(command, command.data)
            self._book.answer(command, self._book.views([name], documents=True))
            return "opened"
        names: list[str] = []
        errors: list[dict[str, str]] = []
        for data in unpacked(command.data["proposals"], MAX_TOGETHER):
            try:
                names.append(self._open_one(command, data, is_listed=True))
            except (Refusal, InvalidPayload) as error:
                errors.append(
                    {"name": str(data.get("name"))[:100], "code": error.code, "message": error.message}
                )
        self._book.answer(command, {**self._book.views(names, documents=True), "errors": errors})
        return errors[0]["code"] if errors else "opened"

    def _open_one(self, command: Command, data: object, *, is_listed: bool = False) -> str:
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
            return name
        if len(book.open) >= MAX_OPEN:
            raise Refusal("too_many", f"{MAX_OPEN} proposals are open already")
        proposal = proposal_of(motion, name, command.sender, command.now)
        self._room -= len(msgspec.msgpack.encode(proposal))
        if self._room < 0:
            raise Refusal("too_many", f"proposals opened together have at most {MAX_OPENED_BYTES} bytes")
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
        return name

    # Asking and closing

    def _get(self, command: Command) -> str:
        request = read_request(command.data, GetRequest)
        rounds = request.proposals or {"": 0}
        ids = [vote_id(command.resource, word) for word in rounds]
        if len(ids) == 1 and ids[0] not in self._book.open and ids[0] not in self._book.ended:
            raise Refusal("not_found", f"there is no proposal {ids[0]} that is open or was lately")
        is_to_wait = (
            request.wait_ms and command.wants_answer and not self._book.is_news(command.resource, rounds)
        )
        if not is_to_wait or not self._book.wait(
            command, rounds, documents=request.documents, wait_ms=request.wait_ms
        ):
            self._book.answer(command, self._book.views(ids, documents=request.documents))
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
        self._book.answer(command, self._book.views([name], documents=True))
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
