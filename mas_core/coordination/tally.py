"""Counts ballots. Pure arithmetic on whole weights, so whoever has the ballots gets the same result.

The published tie rule of ranked votes: one option is eliminated at a time, the one with the least weight; of those
with the same least weight the one that is listed last in the proposal goes. An option wins when it has more than
half of the weight that still counts. Whether the tie rule also decides between the last two is up to the
proposal (`on_tie: order`); otherwise these two are tied.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mas_core.model.vote import ESCALATE, RANKED, REVOTE, STATUS_QUO, Count, Proposal, Round, Tally, share_of

Rankings = Mapping[str, Sequence[str]]
"""Voter -> options by preference; empty for an abstention."""

WINNER = "winner"
TIE = "tie"
NO_MAJORITY = "no_majority"
NO_QUORUM = "no_quorum"
_SAME_WHATEVER_TIED = frozenset({REVOTE, ESCALATE, STATUS_QUO})


def tally_of(proposal: Proposal, turn: Round, excluded: Collection[str]) -> Tally:
    """What a round says by the ballots that it has."""
    rankings = {ballot.voter: ballot.ranking for ballot in turn.ballots}
    if turn.is_delegated:
        return _delegated(proposal, turn, rankings)
    return tally(proposal, rankings, excluded)


def tally(proposal: Proposal, rankings: Rankings, excluded: Collection[str] = ()) -> Tally:
    """Count the ballots of a round.

    Args:
        proposal: What was voted on; participants and weights are those of it and no others.
        rankings: The ballots that were taken. Those of voters who are excluded, or no participants, do not count.
        excluded: Voters who signed two different ballots.
    """
    weights = proposal.participants
    valid = [
        (weights[voter], tuple(ranking))
        for voter, ranking in rankings.items()
        if voter in weights and voter not in excluded
    ]
    cast = sum(weight for weight, _ in valid)
    voiced = [(weight, ranking) for weight, ranking in valid if ranking]
    counts = _runoff(proposal, voiced) if proposal.strategy == RANKED else (_first_choices(proposal, voiced),)
    last = counts[-1]
    base = sum(last.weights.values())
    needed = needed_weight(proposal, base)
    most = max(last.weights.values(), default=0)
    leading = tuple(option for option in proposal.options if most and last.weights.get(option) == most)
    winner = ""
    if not has_quorum(proposal, cast):
        finding = NO_QUORUM
    elif leading and most >= needed:
        finding, winner = WINNER, leading[0]
    else:
        finding = TIE if len(leading) > 1 else NO_MAJORITY
    return Tally(
        finding=finding,
        winner=winner,
        tied=leading if finding == TIE else (),
        total=proposal.total_weight,
        cast=cast,
        abstained=cast - sum(weight for weight, _ in voiced),
        excluded=sum(weights[voter] for voter in excluded if voter in weights),
        needed=needed,
        counts=counts,
    )


def needed_weight(proposal: Proposal, base: int) -> int:
    """The least weight that wins where so much weight voiced a choice."""
    share, is_more = proposal.needed_share
    part, whole = share.numerator * base, share.denominator
    needed = part // whole + 1 if is_more else max(1, -(-part // whole))
    if proposal.is_byzantine:
        needed = max(needed, 2 * proposal.total_weight // 3 + 1)
    return needed


def has_quorum(proposal: Proposal, cast: int) -> bool:
    """Whether enough weight was cast; abstentions count for this."""
    share = share_of(proposal.quorum)
    return cast * share.denominator >= share.numerator * proposal.total_weight


def is_certain(proposal: Proposal, rankings: Rankings, excluded: Collection[str] = ()) -> bool:
    """Whether no ballot that is still to come can change what follows from this round.

    Ballots that were taken are taken to stand; a voter who is caught later with a second one is late.
    """
    weights = proposal.participants
    missing = sum(
        weight for voter, weight in weights.items() if voter not in rankings and voter not in excluded
    )
    if not missing:
        return True
    voiced = [
        (weights[voter], tuple(ranking))
        for voter, ranking in rankings.items()
        if ranking and voter in weights and voter not in excluded
    ]
    cast = sum(weights[voter] for voter in rankings if voter in weights and voter not in excluded)
    if not has_quorum(proposal, cast):
        return False
    first = _first_choices(proposal, voiced).weights
    base = sum(first.values())
    most = max(first.values())
    if most and most >= needed_weight(proposal, base + missing):
        return True
    if proposal.strategy == RANKED:
        return False
    can_win = most + missing >= needed_weight(proposal, base + missing)
    same = proposal.on_tie == proposal.on_stall and proposal.on_tie[0] in _SAME_WHATEVER_TIED
    return same and not can_win


def _first_choices(proposal: Proposal, voiced: Sequence[tuple[int, tuple[str, ...]]]) -> Count:
    found = dict.fromkeys(proposal.options, 0)
    for weight, ranking in voiced:
        if ranking[0] in found:
            found[ranking[0]] += weight
    return Count(found)


def _runoff(proposal: Proposal, voiced: Sequence[tuple[int, tuple[str, ...]]]) -> tuple[Count, ...]:
    """Instant run-off: the passes until an option has its majority, or two are left with the same weight."""
    remaining = list(proposal.options)
    counts: list[Count] = []
    while True:
        found = dict.fromkeys(remaining, 0)
        exhausted = 0
        for weight, ranking in voiced:
            choice = next((option for option in ranking if option in found), None)
            if choice is None:
                exhausted += weight
            else:
                found[choice] += weight
        base = sum(found.values())
        has_winner = any(2 * weight > base for weight in found.values())
        if has_winner or not base or (len(set(found.values())) == 1 and len(remaining) <= 2):
            return (*counts, Count(found, exhausted))
        least = min(found.values())
        lowest = [option for option in remaining if found[option] == least]
        counts.append(Count(found, exhausted, lowest[-1], len(lowest) > 1))
        remaining.remove(lowest[-1])


def _delegated(proposal: Proposal, turn: Round, rankings: Rankings) -> Tally:
    choice = next(iter(rankings.get(proposal.delegate, ())), "")
    return Tally(
        finding=WINNER if choice else NO_MAJORITY,
        winner=choice,
        tied=(),
        total=1,
        cast=len(rankings),
        abstained=len(rankings) - bool(choice),
        excluded=0,
        needed=1,
        counts=(Count({option: int(option == choice) for option in turn.options}),),
    )
