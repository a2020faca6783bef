"""The agents of a measurement: registered for it, with limits that do not stop them, and gone after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from mas_core.base.ids import new_instance_id
from mas_core.errors import MasError
from mas_core.model.policy import ANYONE, PolicyDocument, RateLimit, Rule
from mas_core.ops.agents import deregister_many, register_many
from mas_core.ops.bench.load import MAX_AGENTS
from mas_core.ops.system import System
from mas_core.security.policy_changes import replace_file_rules

UNLIMITED = RateLimit(per_minute=1_000_000_000, per_hour=1_000_000_000)


@dataclass(frozen=True, slots=True)
class Cast:
    """Senders and receivers; the first sender may send to the first receiver, and so on."""

    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    tokens: dict[str, str]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Who may send to whom."""
        return list(zip(self.senders, self.receivers, strict=True))


@asynccontextmanager
async def cast_of(
    system: System, pairs: int = 1, *, names: Sequence[tuple[str, str]] = (), others: Sequence[str] = ()
) -> AsyncIterator[Cast]:
    """Pairs of agents that may talk; agents, rules and limits are gone when the block ends.

    Args:
        system: The system.
        pairs: How many.
        names: Their ids, where they matter; `*` as receiver lets a sender send to everybody.
        others: Ids of further agents, of which no rule speaks.
    """
    prefix = f"bench-{new_instance_id()[:6]}"
    named = list(names) or [
        (f"{prefix}-{number}-sender", f"{prefix}-{number}-receiver")
        for number in range(max(1, min(pairs, MAX_AGENTS)))
    ]
    agent_ids = list(
        dict.fromkeys(agent_id for pair in [*named, others] for agent_id in pair if agent_id != ANYONE)
    )
    source = f"bench:{prefix}"
    rules = [
        Rule(
            "", "allow", sender, receiver, type="bench.*", source=source, reason="mas bench", by=system.actor
        )
        for sender, receiver in named
    ]
    limits = dict.fromkeys(agent_ids, UNLIMITED)
    try:
        tokens = await register_many(system, agent_ids)
        await system.policy.change(lambda document: _with(document, rules, limits, source))
        yield Cast(tuple(pair[0] for pair in named), tuple(pair[1] for pair in named), tokens)
    finally:
        # The end of the run, even by Ctrl-C, must not end this.
        await asyncio.shield(asyncio.create_task(_clear(system, agent_ids, source)))


async def _clear(system: System, agent_ids: Sequence[str], source: str) -> None:
    failures: list[MasError] = []
    for work in (
        system.policy.change(lambda document: _with(document, (), dict.fromkeys(agent_ids), source)),
        deregister_many(system, agent_ids),
    ):
        try:
            await work
        except MasError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _with(
    document: PolicyDocument, rules: Sequence[Rule], limits: Mapping[str, RateLimit | None], source: str
) -> PolicyDocument:
    """The document with these rules of ours and no others, and these limits; None takes one back."""
    document = replace_file_rules(document, rules, source)
    merged = {**document.limits, **limits}
    return msgspec.structs.replace(
        document,
        limits={name: limit for name, limit in merged.items() if limit is not None},
        change=f"mas bench: rules and limits of {len(limits)} agents {'added' if rules else 'removed'}",
    )
