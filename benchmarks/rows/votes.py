"""Votes with five participants that vote by a handler: many at once, and one at a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from benchmarks.options import Options
from benchmarks.table import Row, medians
from benchmarks.workplace import Workplace, workplace
from mas_core import Agent, Motion, Proposal
from mas_core.coordination.tally import tally
from mas_core.model.policy import PolicyDocument, Rule
from mas_core.model.vote import PROPOSAL_TYPE
from mas_core.security.policy_changes import add_rule

VOTERS = tuple(f"agent-{number:03d}" for number in range(5))
PROPOSER = "agent-005"


class Voter(Agent):
    """Says yes, and answers a plain question."""

    @Agent.on_proposal
    async def decide(self, proposal: Proposal) -> str:  # noqa: ARG002
        return "yes"

    @Agent.on("bench.ask")
    async def answer(self, message: object) -> None:
        """An empty reply."""


async def measure(options: Options) -> list[Row]:
    """One row for a batch, one for single decisions."""
    count, singles = options.count(1000, 20), options.count(200, 10)
    batch: list[float] = []
    single: list[float] = []
    batch_figures: list[dict[str, float]] = []
    single_figures: list[dict[str, float]] = []
    async with workplace(profile=options.profile) as place, _hall(place) as boss:
        for _ in range(options.rounds):
            gateway_s = place.gateway_cpu_s()
            seconds = await _batch_s(boss, count)
            gateway_s = place.gateway_cpu_s() - gateway_s
            batch.append(count / seconds)
            batch_figures.append(
                {
                    "decisions a second that are only counted, in process": _counted_a_second(),
                    "gateway CPU us a decision": gateway_s / count * 1e6,
                }
            )
            times = [await _one_s(boss) * 1000 for _ in range(singles)]
            asked = [await _request_s(boss) * 1000 for _ in range(singles)]
            single.append(statistics.quantiles(times, n=20)[-1])
            single_figures.append(
                {
                    "p50 ms": statistics.median(times),
                    "one request p50 ms": statistics.median(asked),
                    "one request p95 ms": statistics.quantiles(asked, n=20)[-1],
                }
            )
    return [
        Row(
            f"votes, 5 participants, {count} proposals at once: decisions",
            "at least 1,000 a second",
            batch,
            "/s",
            at_least=1000.0,
            figures=medians(batch_figures),
            note="from the proposal to the last result, every ballot signed",
        ),
        Row(
            "votes, 5 participants, one at a time: p95",
            "at most 100 ms",
            single,
            "ms",
            at_most=100.0,
            figures=medians(single_figures),
        ),
    ]


@asynccontextmanager
async def _hall(place: Workplace) -> AsyncIterator[Agent]:
    """The proposer, with five agents that vote."""
    await place.set_policy([(PROPOSER, voter) for voter in VOTERS])

    def permit(document: PolicyDocument) -> PolicyDocument:
        rules = [Rule("", "allow", PROPOSER, "vote:>", action="propose")]
        rules += [Rule("", "allow", PROPOSER, voter, type=PROPOSAL_TYPE) for voter in VOTERS]
        rules += [Rule("", "allow", voter, "vote:>", action="vote") for voter in VOTERS]
        for rule in rules:
            document = add_rule(document, rule)
        return msgspec.structs.replace(document, change="let agents vote")

    await place.system.policy.change(permit)
    options = {"redis_url": place.url, "namespace": place.system.store.namespace}
    async with AsyncExitStack() as stack:
        for name in VOTERS:
            await stack.enter_async_context(Voter(name, token=place.tokens[name], **options))
        yield await stack.enter_async_context(Agent(PROPOSER, token=place.tokens[PROPOSER], **options))


async def _batch_s(boss: Agent, count: int) -> float:
    motions = [Motion(f"proposal {number}", list(VOTERS)) for number in range(count)]
    began = time.perf_counter()
    votes = await boss.consensus.propose_many(motions)
    results = await boss.consensus.wait(votes, timeout=60)
    seconds = time.perf_counter() - began
    assert len(results) == count
    assert all(result.is_accepted for result in results.values())
    return seconds


async def _one_s(boss: Agent) -> float:
    began = time.perf_counter()
    vote = await boss.consensus.propose("one", VOTERS)
    result = await vote.wait(60)
    seconds = time.perf_counter() - began
    assert result.is_accepted
    return seconds


async def _request_s(boss: Agent) -> float:
    began = time.perf_counter()
    await boss.request(VOTERS[0], "bench.ask", {})
    return time.perf_counter() - began


def _counted_a_second() -> float:
    proposal = Proposal("p", PROPOSER, "one", dict.fromkeys(VOTERS, 1), 0)
    rankings = dict.fromkeys(VOTERS, ("yes",))
    began = time.perf_counter()
    for _ in range(1000):
        tally(proposal, rankings)
    return 1000 / (time.perf_counter() - began)
