"""The trail of a vote: what follows from a round, and a check of everything by whoever has an exported trail.

`next_step` is what the machine goes by and what `verify` recomputes with. The check needs nobody: not the server,
not the gateway, no key but the public ones in the trail. Whether these are the voters' is told by their
fingerprints, got by another way, or by passing the keys that count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mas_core.coordination.ballots import is_valid_ballot
from mas_core.coordination.proposals import check_ranking, is_well_formed
from mas_core.coordination.tally import TIE, WINNER, is_certain, tally_of
from mas_core.model.vote import (
    ACCEPTED,
    BY_CERTAINTY,
    BY_DEADLINE,
    DELEGATE,
    ESCALATE,
    ORDER,
    REJECTED,
    REVOTE,
    STATUS_QUO,
    CastBallot,
    Proposal,
    Result,
    Round,
    Trail,
)

DECIDED = "decided"
VERSION = 1
"""Of trails."""


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a round."""

    kind: str
    """decided, revote, delegate, escalate, order or status_quo."""
    choice: str = ""
    """What is decided by it."""
    options: tuple[str, ...] = ()
    """What the next round, if there is one, is about."""
    reason: str = ""


@dataclass(slots=True)
class Verification:
    """What a check of a trail found."""

    problems: list[str] = field(default_factory=list)
    recomputed: list[str] = field(default_factory=list)
    """What was recomputed, a line each."""
    result: Result | None = None
    """What came out when it was computed anew."""

    @property
    def is_right(self) -> bool:
        """Whether everything in the trail follows from the ballots in it."""
        return not self.problems


def next_step(proposal: Proposal, rounds: list[Round]) -> Step:
    """What follows from the last of these rounds, whose tally is known."""
    turn = rounds[-1]
    tally = turn.tally
    if tally is None:
        raise ValueError("the round is not counted")
    if tally.finding == WINNER:
        how = (
            "the delegate chose it"
            if turn.is_delegated
            else f"it has {tally.counts[-1].weights[tally.winner]}"
        )
        return Step(DECIDED, tally.winner, reason=f"{how}, and {tally.needed} were needed")
    votes = (item.tally for item in reversed(rounds) if not item.is_delegated and item.tally is not None)
    cause = next(votes, tally)
    reason = {
        "tie": f"{' and '.join(cause.tied)} have the same weight",
        "no_quorum": f"{cause.cast} of {cause.total} were cast, which is no quorum",
    }.get(cause.finding, f"no option has the {cause.needed} that were needed")
    options = cause.tied if cause.finding == TIE else proposal.options
    for kind in proposal.on_tie if cause.finding == TIE else proposal.on_stall:
        if kind == REVOTE and sum(not item.is_delegated for item in rounds) < proposal.max_rounds:
            return Step(kind, options=proposal.options, reason=reason)
        if kind == DELEGATE and not any(item.is_delegated for item in rounds):
            return Step(kind, options=options, reason=reason)
        if kind == ORDER:
            return Step(kind, options[0], reason=f"{reason}, and {options[0]} is listed first")
        if kind == ESCALATE:
            return Step(kind, options=proposal.options, reason=reason)
        if kind == STATUS_QUO:
            break
    return Step(STATUS_QUO, proposal.status_quo, reason=reason)


def result_of(proposal: Proposal, choice: str, decided_by: str, reason: str, at: int) -> Result:
    """The result that a choice is; the status quo, or no choice, is a rejection."""
    is_change = bool(choice) and choice != proposal.status_quo
    return Result(ACCEPTED if is_change else REJECTED, choice, decided_by, reason, at)


def decided_by(proposal: Proposal, step: Step, turn: Round) -> str:
    """Who or what decided."""
    if step.kind == DECIDED:
        return f"delegate {proposal.delegate}" if turn.is_delegated else "majority"
    return step.kind


def verify(trail: Trail, keys: Mapping[str, Collection[str]] | None = None) -> Verification:
    """Recompute a vote from its trail.

    Args:
        trail: As exported.
        keys: Voter -> Ed25519 public keys (hex) that are known to be its own; those in the trail count when
            left out.
    """
    found = Verification()
    proposal = trail.proposal
    if trail.version != VERSION:
        found.problems.append("the trail is of a version that is not known here")
        return found
    if not is_well_formed(proposal):
        found.problems.append("the proposal contradicts itself, so it was never opened")
        return found
    digest = proposal.digest()
    found.recomputed.append(
        f"proposal {proposal.id}: {len(proposal.participants)} participants of weight {proposal.total_weight}, "
        f"digest {digest}"
    )
    if not trail.rounds:
        found.problems.append("there is no round")
        return found
    check = _Check(trail, digest, keys, found)
    for place, turn in enumerate(trail.rounds):
        check.round(place, turn)
    check.result()
    return found


class _Check:
    def __init__(
        self, trail: Trail, digest: str, keys: Mapping[str, Collection[str]] | None, found: Verification
    ) -> None:
        self._trail = trail
        self._proposal = trail.proposal
        self._digest = digest
        self._keys = keys
        self._found = found
        self._excluded: set[str] = set()
        self._counted: list[Round] = []
        self._last: Step | None = None

    def round(self, place: int, turn: Round) -> None:
        proposal, name = self._proposal, f"round {place + 1}"
        is_last = place == len(self._trail.rounds) - 1
        self._excluded |= self._exclusions(name, turn)
        electorate = {proposal.delegate} if turn.is_delegated else set(proposal.participants)
        signed = sum(self._ballot(name, turn, ballot, electorate) for ballot in turn.ballots)
        self._require(
            len({ballot.voter for ballot in turn.ballots}) == len(turn.ballots),
            f"{name}: a voter counts twice",
        )
        self._require(turn.number == place + 1, f"{name} is numbered {turn.number}")
        if place:
            before = self._last
            wanted = before.kind if before is not None else ""
            self._require(
                wanted == (DELEGATE if turn.is_delegated else REVOTE),
                f"{name}: it does not follow from the one before it",
            )
            self._require(
                before is None or before.options == turn.options,
                f"{name}: its options are not those left over",
            )
        else:
            self._require(turn.options == proposal.options, f"{name}: its options are not the proposal's")
            self._require(
                not turn.is_delegated, f"{name}: the delegate decides though nobody was asked before"
            )
        self._require(
            turn.deadline - turn.opened == proposal.deadline_ms,
            f"{name}: it was not open for the time proposed",
        )
        if not turn.closed:
            self._require(is_last and self._trail.result is None, f"{name}: it was never closed")
            self._found.recomputed.append(f"{name}: open, {signed} ballots, each signed by its voter")
            return
        self._require(self._closing_is_right(turn), f"{name}: nothing shows why it ended when it did")
        tally = tally_of(proposal, turn, self._excluded)
        self._require(tally == turn.tally, f"{name}: the tally is not what the ballots say")
        counted = Round(turn.number, turn.opened, turn.deadline, turn.options, turn.is_delegated, tally=tally)
        self._counted.append(counted)
        self._last = next_step(proposal, self._counted)
        self._require(self._last.kind == turn.step, f"{name}: what followed is not what the proposal says")
        last = ", ".join(f"{option} {weight}" for option, weight in tally.counts[-1].weights.items())
        self._found.recomputed.append(
            f"{name}: {signed} ballots, each signed by its voter; {last}; needed {tally.needed}; "
            f"{tally.finding} {tally.winner}".rstrip()
        )

    def result(self) -> None:
        trail, step, proposal = self._trail, self._last, self._proposal
        turn = trail.rounds[-1]
        recorded = trail.result
        if not turn.closed or step is None:
            self._require(recorded is None, "there is a result before the last round was closed")
            return
        if step.kind in {REVOTE, DELEGATE}:
            self._require(recorded is None, "there is a result although another round had to follow")
            return
        at = recorded.at if recorded is not None else 0
        if step.kind == ESCALATE:
            if recorded is None:
                return
            choice = trail.operator_choice or ""
            self._require(not choice or choice in proposal.options, "the operator chose what is no option")
            made = result_of(proposal, choice, f"operator {proposal.operator}", step.reason, at)
            self._found.recomputed.append(
                "the operator's choice is the operator's word and cannot be recomputed"
            )
        else:
            self._require(
                trail.operator_choice is None, "there is an operator's choice that nobody asked for"
            )
            made = result_of(
                proposal, step.choice, decided_by(proposal, step, turn), step.reason, turn.closed
            )
        self._found.result = made
        self._found.recomputed.append(f"result: {made.outcome} {made.choice} ({made.decided_by})")
        self._require(made == recorded, "the result is not what follows from the rounds")

    def _ballot(self, name: str, turn: Round, ballot: CastBallot, electorate: Collection[str]) -> int:
        self._require(ballot.voter in electorate, f"{name}: {ballot.voter} is no participant")
        self._require(ballot.voter not in self._excluded, f"{name}: {ballot.voter} is excluded and counted")
        self._require(
            turn.opened <= ballot.at <= turn.deadline,
            f"{name}: the ballot of {ballot.voter} came out of time",
        )
        problem = check_ranking(self._proposal, ballot.ranking, turn.options)
        self._require(not problem, f"{name}: the ballot of {ballot.voter}: {problem}")
        is_signed = self._is_signed(turn.number, ballot)
        self._require(is_signed, f"{name}: the signature of {ballot.voter} is not right")
        return int(is_signed)

    def _exclusions(self, name: str, turn: Round) -> set[str]:
        for proof in turn.equivocations:
            both = (proof.first, proof.second)
            is_proof = (
                self._proposal.is_byzantine
                and proof.voter in self._proposal.participants
                and proof.first.ranking != proof.second.ranking
                and all(
                    ballot.voter == proof.voter and self._is_signed(proof.round, ballot) for ballot in both
                )
            )
            self._require(is_proof, f"{name}: nothing proves that {proof.voter} voted twice")
            self._found.recomputed.append(
                f"{name}: {proof.voter} signed two different ballots and is excluded"
            )
        return {proof.voter for proof in turn.equivocations}

    def _is_signed(self, number: int, ballot: CastBallot) -> bool:
        if self._keys is not None and ballot.signature.public_key not in self._keys.get(ballot.voter, ()):
            return False
        return is_valid_ballot(self._trail.namespace, self._proposal.id, self._digest, number, ballot)

    def _closing_is_right(self, turn: Round) -> bool:
        if turn.closed_by == BY_DEADLINE:
            return turn.closed >= turn.deadline
        if turn.closed_by == BY_CERTAINTY:
            rankings = {ballot.voter: ballot.ranking for ballot in turn.ballots}
            if turn.is_delegated:
                return bool(rankings)
            return self._proposal.ends_early and is_certain(self._proposal, rankings, self._excluded)
        return turn.closed_by == self._proposal.proposer

    def _require(self, holds: bool, problem: str) -> None:
        if not holds:
            self._found.problems.append(problem)
