"""Makes proposals of what somebody proposes, or says why it is none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

import msgspec

from mas_core.base.ids import AGENT_ID
from mas_core.errors import InvalidPayload
from mas_core.model.json_text import misfit
from mas_core.model.vote import (
    DELEGATE,
    ESCALATE,
    ORDER,
    RANKED,
    REVOTE,
    STATUS_QUO,
    STRATEGIES,
    SUPER,
    UNANIMOUS,
    WEIGHTED,
    Motion,
    Proposal,
)

MAX_TITLE = 200
MAX_DESCRIPTION = 4_000
MAX_OPTIONS = 64
MAX_OPTION = 100
MAX_PARTICIPANTS = 256
MAX_WEIGHT = 1_000_000
MAX_DEADLINE_S = 30 * 86_400
MAX_ROUNDS = 20
_SHARE = re.compile(r"[0-9]{1,6}(/[0-9]{1,6}|\.[0-9]{1,6})?")


def motion_of(data: object) -> Motion:
    """What somebody proposes, from the wire.

    Raises:
        InvalidPayload: Fields are missing, unknown or of the wrong kind.
    """
    try:
        return msgspec.convert(data, Motion)
    except msgspec.ValidationError as error:
        raise InvalidPayload(f"this is no proposal: {misfit(error)}") from None


def proposal_of(motion: Motion, proposal_id: str, proposer: str, now: int) -> Proposal:
    """The proposal that a motion is, with all defaults filled in.

    Args:
        motion: What is proposed.
        proposal_id: The id that it gets.
        proposer: Who proposes it.
        now: Unix milliseconds.

    Raises:
        InvalidPayload: It contradicts itself or leaves bounds.
    """
    _require(0 < len(motion.title) <= MAX_TITLE, f"a title has 1 to {MAX_TITLE} characters")
    _require(
        len(motion.description) <= MAX_DESCRIPTION,
        f"a description has at most {MAX_DESCRIPTION} characters",
    )
    _require(motion.strategy in STRATEGIES, f"strategies are {', '.join(STRATEGIES)}")
    _require(0 < motion.deadline <= MAX_DEADLINE_S, "a deadline is more than 0 s and at most 30 days")
    _require(1 <= motion.max_rounds <= MAX_ROUNDS, f"there are 1 to {MAX_ROUNDS} rounds")
    options = _options(motion.options)
    status_quo = motion.status_quo
    if status_quo is None:
        status_quo = "no" if "no" in options else ""
    _require(not status_quo or status_quo in options, "the status quo has to be one of the options")
    proposal = Proposal(
        id=proposal_id,
        proposer=proposer,
        title=motion.title,
        participants=_participants(motion),
        opened=now,
        description=motion.description,
        options=options,
        strategy=motion.strategy,
        threshold=_threshold(motion),
        quorum=_quorum(motion),
        deadline_ms=max(1, round(motion.deadline * 1000)),
        is_byzantine=motion.byzantine,
        ends_early=motion.early,
        on_tie=_steps(
            motion.on_tie, ORDER if motion.strategy == RANKED and not motion.byzantine else STATUS_QUO
        ),
        on_stall=_steps(motion.on_stall, STATUS_QUO),
        max_rounds=motion.max_rounds,
        delegate=motion.delegate,
        status_quo=status_quo,
        operator=motion.operator,
    )
    _check_steps(proposal)
    return proposal


def is_well_formed(proposal: Proposal) -> bool:
    """Whether a proposal, such as one in an exported trail, is one that could have been opened."""
    motion = Motion(
        title=proposal.title,
        participants=dict(proposal.participants),
        description=proposal.description,
        options=proposal.options,
        strategy=proposal.strategy,
        threshold=proposal.threshold,
        quorum=proposal.quorum,
        deadline=proposal.deadline_ms / 1000,
        byzantine=proposal.is_byzantine,
        early=proposal.ends_early,
        on_tie=proposal.on_tie,
        on_stall=proposal.on_stall,
        max_rounds=proposal.max_rounds,
        delegate=proposal.delegate,
        status_quo=proposal.status_quo,
        operator=proposal.operator,
    )
    try:
        return proposal_of(motion, proposal.id, proposal.proposer, proposal.opened) == proposal
    except (InvalidPayload, OverflowError):
        return False


def check_ranking(proposal: Proposal, ranking: Iterable[str], options: Iterable[str]) -> str:
    """Why this is no choice that can be counted; empty when it is one.

    Args:
        proposal: What is voted on.
        ranking: Options by preference; none for an abstention.
        options: Those that can be chosen in this round.
    """
    found = list(ranking)
    allowed = frozenset(options)
    if unknown := [option for option in found if option not in allowed]:
        return f"{unknown[0][:MAX_OPTION]!r} is not one of the options"
    if len(set(found)) < len(found):
        return "a ranking names each option once"
    if len(found) > 1 and proposal.strategy != RANKED:
        return f"a {proposal.strategy} vote takes one option"
    return ""


def _options(options: tuple[str, ...]) -> tuple[str, ...]:
    _require(2 <= len(options) <= MAX_OPTIONS, f"there are 2 to {MAX_OPTIONS} options")
    _require(len(set(options)) == len(options), "each option is listed once")
    _require(
        all(0 < len(option) <= MAX_OPTION and option.isprintable() for option in options),
        f"an option has 1 to {MAX_OPTION} printable characters",
    )
    return options


def _participants(motion: Motion) -> dict[str, int]:
    given = motion.participants
    named = given if isinstance(given, dict) else dict.fromkeys(given, 1)
    _require(len(named) == len(given), "each participant is named once")
    _require(1 <= len(named) <= MAX_PARTICIPANTS, f"there are 1 to {MAX_PARTICIPANTS} participants")
    weights = {}
    for name, weight in named.items():
        _require(AGENT_ID.fullmatch(name) is not None, f"{name[:70]!r} cannot be the id of an agent")
        _require(
            1 <= weight <= MAX_WEIGHT and weight == int(weight),
            f"weights are whole numbers from 1 to {MAX_WEIGHT}",
        )
        weights[name] = int(weight)
    _require(
        motion.strategy in {WEIGHTED, RANKED} or set(weights.values()) == {1},
        f"in a {motion.strategy} vote everybody counts the same; weights belong to weighted and ranked votes",
    )
    return dict(sorted(weights.items()))


def _threshold(motion: Motion) -> str:
    if motion.threshold == "":
        return "2/3" if motion.strategy == SUPER else ""
    _require(motion.strategy in {SUPER, WEIGHTED}, "only super and weighted votes have a threshold")
    share = _share(motion.threshold, "the threshold")
    _require(Fraction(1, 2) < share <= 1, "the threshold is more than 1/2 and at most 1")
    return str(share)


def _quorum(motion: Motion) -> str:
    if motion.quorum == "":
        return "1" if motion.strategy == UNANIMOUS else "1/2"
    share = _share(motion.quorum, "the quorum")
    _require(share <= 1, "the quorum is a share of the whole weight, from 0 to 1")
    return str(share)


def _share(given: str | float, name: str) -> Fraction:
    text = given if isinstance(given, str) else f"{given:f}"
    _require(_SHARE.fullmatch(text) is not None, f"{name} is a share such as 2/3 or 0.75")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise InvalidPayload(f"{name} divides by zero") from None


def _steps(given: str | tuple[str, ...], default: str) -> tuple[str, ...]:
    if isinstance(given, str):
        given = tuple(part.strip() for part in given.split(",")) if given else (default,)
    return given or (default,)


def _check_steps(proposal: Proposal) -> None:
    known = (REVOTE, DELEGATE, ESCALATE, STATUS_QUO)
    for name, steps, allowed in (
        ("on_tie", proposal.on_tie, (*known, ORDER)),
        ("on_stall", proposal.on_stall, known),
    ):
        _require(set(steps) <= set(allowed), f"{name} is one or more of {', '.join(allowed)}")
        _require(len(set(steps)) == len(steps), f"{name} names each way once")
    wanted = {*proposal.on_tie, *proposal.on_stall}
    _require(
        DELEGATE not in wanted or AGENT_ID.fullmatch(proposal.delegate) is not None,
        "to delegate, name the agent that decides: delegate",
    )
    _require(
        ESCALATE not in wanted or AGENT_ID.fullmatch(proposal.operator) is not None,
        "to escalate, name the agent that decides: operator",
    )
    _require(
        not proposal.is_byzantine or not wanted & {DELEGATE, ORDER},
        "in Byzantine mode only more than two thirds of the weight decide: delegate and order do not fit it",
    )


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidPayload(message)
