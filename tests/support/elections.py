"""Random elections, counted by us and by two libraries of others: PyRankVote and pref_voting.

`python tests/support/elections.py --count 10000` compares all of them; `--record N` writes the first N elections
with what pref_voting found to `tests/vectors/elections`, which continuous integration reads, as pref_voting brings
half a gigabyte of libraries along.

pref_voting replays our tie rule, so each election is compared. PyRankVote takes out several options at a time and
breaks ties in its own way, so elections in which two options had the same votes in any pass are left out there.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mas_core.coordination.tally import tally
from mas_core.coordination.trail import next_step
from mas_core.model.vote import ORDER, RANKED, Proposal, Round

SEED = 20261121
RECORDED = Path(__file__).parents[1] / "vectors" / "elections" / "pref_voting.json"


class Election(msgspec.Struct, frozen=True):
    """Options are numbered in the order in which they are listed."""

    options: int
    ballots: tuple[tuple[int, tuple[int, ...]], ...]
    """Weight, and options by preference."""


class Outcome(msgspec.Struct, frozen=True):
    """What we found."""

    winner: int
    by_tie_rule: bool
    """Whether the tie rule chose between options that had votes."""
    has_equals: bool
    """Whether two options had the same votes, and any, in a pass."""


def random_elections(count: int, seed: int = SEED) -> Iterator[Election]:
    """The same elections for the same seed: 2 to 8 options, 3 to 100 ballots, half of them with short ballots."""
    source = random.Random(seed)
    for number in range(count):
        options = source.randint(2, 8)
        is_short = number % 2
        favour = source.sample(range(options), options)
        ballots = []
        for _ in range(source.choice((3, 9, 30, 100))):
            ranking = source.sample(range(options), options)
            if source.random() < 0.4:
                ranking = favour[:]
                at, to = source.randrange(options), source.randrange(options)
                ranking[at], ranking[to] = ranking[to], ranking[at]
            length = source.randint(1, options) if is_short else options
            ballots.append((source.choice((1, 1, 1, 2, 5)), tuple(ranking[:length])))
        yield Election(options, tuple(ballots))


def our_outcome(election: Election) -> Outcome:
    """By `mas_core`, with ties by the published rule."""
    names = tuple(f"o{number}" for number in range(election.options))
    proposal = Proposal(
        id="election",
        proposer="proposer",
        title="Election",
        participants={f"v{at}": weight for at, (weight, _) in enumerate(election.ballots)},
        opened=0,
        options=names,
        strategy=RANKED,
        on_tie=(ORDER,),
    )
    rankings = {f"v{at}": [names[item] for item in order] for at, (_, order) in enumerate(election.ballots)}
    found = tally(proposal, rankings)
    step = next_step(proposal, [Round(1, 0, 1, names, tally=found)])
    tied = any(count.by_tie_rule and count.weights[count.eliminated] for count in found.counts)
    voted = [[weight for weight in count.weights.values() if weight] for count in found.counts]
    has_equals = any(len(set(weights)) < len(weights) for weights in voted)
    return Outcome(names.index(step.choice), tied or step.kind == ORDER, has_equals)


def by_pyrankvote(election: Election) -> int:
    """The winner by PyRankVote's instant run-off."""
    import pyrankvote

    candidates = [pyrankvote.Candidate(str(number)) for number in range(election.options)]
    ballots = [
        pyrankvote.Ballot([candidates[item] for item in ranking])
        for weight, ranking in election.ballots
        for _ in range(weight)
    ]
    [winner] = pyrankvote.instant_runoff_voting(candidates, ballots).get_winners()
    return int(winner.name)


def by_pref_voting(election: Election) -> int:
    """The winner by pref_voting's instant run-off, which gets our order to break ties."""
    from pref_voting.iterative_methods import instant_runoff_tb
    from pref_voting.profiles import Profile
    from pref_voting.profiles_with_ties import ProfileWithTies

    weights = [weight for weight, _ in election.ballots]
    orders = [ranking for _, ranking in election.ballots]
    profile: Any
    if all(len(order) == election.options for order in orders):
        profile = Profile([list(order) for order in orders], weights)
    else:
        ranks = [{item: place + 1 for place, item in enumerate(order)} for order in orders]
        profile = ProfileWithTies(ranks, weights, candidates=list(range(election.options)))
    # what it names first goes first
    [winner] = instant_runoff_tb(profile, tie_breaker=list(reversed(range(election.options))))
    return int(winner)


def recorded() -> list[tuple[Election, int]]:
    """Elections with the winners that pref_voting found."""
    return msgspec.json.decode(RECORDED.read_bytes(), type=list[tuple[Election, int]])


def main() -> int:
    """Compare, print, and tell by the exit code."""
    parser = argparse.ArgumentParser(description="Compare ranked votes with two libraries of others.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--record", type=int, default=0, metavar="N", help="write the first N for the tests")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    started = time.monotonic()
    differences = tied = compared = 0
    lines = []
    for number, election in enumerate(random_elections(options.count, options.seed)):
        ours = our_outcome(election)
        tied += ours.by_tie_rule
        theirs = {"pref_voting": by_pref_voting(election)}
        if number < options.record:
            lines.append(json.dumps([msgspec.to_builtins(election), theirs["pref_voting"]]))
        if not ours.has_equals:
            compared += 1
            theirs["pyrankvote"] = by_pyrankvote(election)
        for name, winner in theirs.items():
            if winner != ours.winner:
                differences += 1
                sys.stdout.write(f"{name} says {winner}, we say {ours.winner}: {election}\n")
    if options.record:
        RECORDED.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    sys.stdout.write(
        f"{options.count:,} elections, seed {options.seed}: {differences} differences; "
        f"{tied:,} with ties by our rule; {options.count:,} compared with pref_voting and {compared:,}, "
        f"those without equals, with PyRankVote ({time.monotonic() - started:.0f} s)\n"
    )
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
