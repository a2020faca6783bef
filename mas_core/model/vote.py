"""Votes: what is proposed, what is cast, and the trail from which anybody can recompute what came out.

Weights are whole numbers and shares are fractions, so that no count depends on rounding.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Final

import msgspec

SIMPLE: Final = "simple"
SUPER: Final = "super"
UNANIMOUS: Final = "unanimous"
WEIGHTED: Final = "weighted"
RANKED: Final = "ranked"


class VotingStrategy(StrEnum):
    """How votes become a decision; the plain words `simple`, `super`, ... do as well."""

    SIMPLE_MAJORITY = SIMPLE
    SUPER_MAJORITY = SUPER
    UNANIMOUS = UNANIMOUS
    WEIGHTED = WEIGHTED
    RANKED_CHOICE = RANKED


STRATEGIES: Final = tuple(str(strategy) for strategy in VotingStrategy)

REVOTE: Final = "revote"
DELEGATE: Final = "delegate"
ESCALATE: Final = "escalate"
STATUS_QUO: Final = "status_quo"
ORDER: Final = "order"
"""Of options that tie the one that is listed first in the proposal wins."""

YES_NO: Final = ("yes", "no")
DEFAULT_DEADLINE_S: Final = 60.0

BY_DEADLINE: Final = "deadline"
BY_CERTAINTY: Final = "certain"
"""A round ended because nothing that was still to come could change what it said."""

ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
OPEN: Final = "open"
ESCALATED: Final = "escalated"

PROPOSAL_TYPE: Final = "consensus.proposal"
"""Type of the message by which a proposer asks participants for their votes."""

_DIGEST_KIND: Final = b"mas proposal v1\x00"


share_of = lru_cache(maxsize=1024)(Fraction)
"""The fraction that a share such as `2/3` says."""
_ALL: Final = Fraction(1)
_HALF: Final = Fraction(1, 2)


class Motion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What somebody proposes; what it says is checked by `mas_core.coordination.proposals`."""

    title: str
    participants: dict[str, int | float] | list[str]
    """Who may vote, with the weight of each where votes do not all count the same."""
    description: str = ""
    options: tuple[str, ...] = YES_NO
    strategy: str = SIMPLE
    """simple, super, unanimous, weighted or ranked."""
    threshold: str | float = ""
    """Share of the cast weight that an option needs, such as 2/3; of super and weighted votes only."""
    quorum: str | float = ""
    """Share of the whole weight that has to be cast; 1/2 when left out, and all for unanimous votes."""
    deadline: float = DEFAULT_DEADLINE_S
    """Seconds that each round is open."""
    byzantine: bool = False
    """Two different ballots of one voter exclude it, and what wins needs more than two thirds of all weight."""
    early: bool = True
    """End a round as soon as nothing can change what it says."""
    on_tie: str | tuple[str, ...] = ""
    """revote, delegate, escalate, status_quo or order, each tried when those before it did not decide."""
    on_stall: str | tuple[str, ...] = ""
    """The same without order, for rounds without quorum or majority."""
    max_rounds: int = 3
    """Rounds of voting, the first among them."""
    delegate: str = ""
    """The agent that decides where the participants do not."""
    status_quo: str | None = None
    """The option that changes nothing; `no`, where that is an option."""
    operator: str = "operator"
    """The agent that ends an escalated vote."""
    name: str = ""
    """Of a proposal in a list: the word that its id ends with."""


class Proposal(msgspec.Struct, frozen=True):
    """A proposal as it was opened; nothing of it changes afterwards."""

    id: str
    proposer: str
    title: str
    participants: dict[str, int]
    """Who may vote -> weight."""
    opened: int
    """Unix milliseconds by the server's clock."""
    description: str = ""
    options: tuple[str, ...] = YES_NO
    strategy: str = SIMPLE
    threshold: str = ""
    quorum: str = "1/2"
    deadline_ms: int = int(DEFAULT_DEADLINE_S * 1000)
    is_byzantine: bool = False
    ends_early: bool = True
    on_tie: tuple[str, ...] = (STATUS_QUO,)
    on_stall: tuple[str, ...] = (STATUS_QUO,)
    max_rounds: int = 3
    delegate: str = ""
    status_quo: str = ""
    operator: str = "operator"

    @property
    def total_weight(self) -> int:
        """Of all participants, whatever becomes of them."""
        return sum(self.participants.values())

    @property
    def needed_share(self) -> tuple[Fraction, bool]:
        """The share of the cast weight that an option needs, and whether it has to be more than that."""
        if self.threshold:
            return share_of(self.threshold), False
        return (_ALL, False) if self.strategy == UNANIMOUS else (_HALF, True)

    def digest(self) -> str:
        """What every ballot names, so that it counts for exactly this proposal; SHA-256, hex."""
        text = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(_DIGEST_KIND + text).hexdigest()


class BallotSignature(msgspec.Struct, frozen=True):
    """How a ballot is signed: a signature of a sheet of ballots, and the way from this ballot to its root."""

    key_id: str
    public_key: str
    """Ed25519 of the voter, hex, as registered when the ballot was taken."""
    value: bytes
    index: int = 0
    """Place of the ballot on the sheet."""
    count: int = 1
    """Ballots on the sheet."""
    path: tuple[bytes, ...] = ()
    """Hashes beside the way to the root, from the leaf up."""


class CastBallot(msgspec.Struct, frozen=True):
    """One ballot that was taken."""

    voter: str
    ranking: tuple[str, ...]
    """The options by preference, one for all strategies but ranked; empty for an abstention."""
    at: int
    """Unix milliseconds by the server's clock."""
    signature: BallotSignature


class Rejection(msgspec.Struct, frozen=True):
    """One ballot that was not taken, and why."""

    sender: str
    at: int
    code: str
    reason: str
    ranking: tuple[str, ...] = ()


class Equivocation(msgspec.Struct, frozen=True):
    """Two different ballots that one voter signed for one round: the proof needs nobody's word."""

    voter: str
    first: CastBallot
    second: CastBallot
    round: int


class Count(msgspec.Struct, frozen=True):
    """One pass over the ballots; only ranked votes have more than one."""

    weights: dict[str, int]
    """Option -> weight of the ballots that count for it."""
    exhausted: int = 0
    """Weight of ballots that name no option which is still in."""
    eliminated: str = ""
    by_tie_rule: bool = False
    """Whether others had as little as the one that was eliminated."""


class Tally(msgspec.Struct, frozen=True):
    """What a round said."""

    finding: str
    """winner, tie, no_majority or no_quorum."""
    winner: str
    tied: tuple[str, ...]
    total: int
    """Weight of all participants."""
    cast: int
    """Weight of the ballots that count, abstentions among them."""
    abstained: int
    excluded: int
    """Weight of those who signed two different ballots."""
    needed: int
    """Weight that an option needed to win, by the last count."""
    counts: tuple[Count, ...]


class Round(msgspec.Struct):
    """One round of a vote."""

    number: int
    opened: int
    deadline: int
    """Unix milliseconds by the server's clock."""
    options: tuple[str, ...]
    is_delegated: bool = False
    """Whether only the delegate decides."""
    ballots: list[CastBallot] = []
    """In the order in which they were taken."""
    rejections: list[Rejection] = []
    rejections_left_out: int = 0
    equivocations: list[Equivocation] = []
    closed: int = 0
    """Unix milliseconds; 0 while it is open."""
    closed_by: str = ""
    """deadline, certain, or the agent that closed it."""
    tally: Tally | None = None
    step: str = ""
    """What followed: decided, or how the tie or stall was dealt with."""


class Result(msgspec.Struct, frozen=True):
    """What became of a proposal."""

    outcome: str
    """accepted, or rejected where nothing changes."""
    choice: str
    """The option that won; empty if none did."""
    decided_by: str
    """majority, delegate, operator, order or status_quo."""
    reason: str
    at: int
    """Unix milliseconds by the server's clock."""

    @property
    def is_accepted(self) -> bool:
        """Whether something else than the status quo was chosen."""
        return self.outcome == ACCEPTED


class Trail(msgspec.Struct):
    """All of one vote, in order: enough to recompute its result without asking anybody."""

    namespace: str
    proposal: Proposal
    rounds: list[Round]
    result: Result | None = None
    operator_choice: str | None = None
    """What the operator of an escalated vote chose."""
    version: int = 1

    @property
    def state(self) -> str:
        """open, escalated, accepted or rejected."""
        if self.result is not None:
            return self.result.outcome
        return ESCALATED if self.rounds[-1].step == ESCALATE else OPEN

    @property
    def excluded(self) -> frozenset[str]:
        """Voters that were caught with two different ballots in a round."""
        if not self.proposal.is_byzantine:
            return frozenset()
        return frozenset(found.voter for turn in self.rounds for found in turn.equivocations)

    def digest(self) -> str:
        """SHA-256 of the whole trail, hex, as the audit has it."""
        return hashlib.sha256(
            b"mas vote trail v1\x00" + msgspec.json.encode(self, order="sorted")
        ).hexdigest()
