"""Measures how soon a changed policy decides, in every partition and so on every gateway."""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from mas_core.agent.client import Client
from mas_core.base.ids import new_instance_id, partition_of
from mas_core.errors import Backpressure, Forbidden, UsageError
from mas_core.model.policy import PolicyDocument, Rule
from mas_core.ops.bench.cast import cast_of
from mas_core.ops.bench.figures import spread
from mas_core.ops.bench.load import MESSAGE_TYPE, payload
from mas_core.ops.bench.receiving import receiving
from mas_core.ops.system import System
from mas_core.security.policy_changes import add_rule, find_rule, remove_rule

IN_FORCE_MS = 200
DECISION_SECONDS = 10.0
PAUSE_S = 0.05
"""Between one change and the next."""


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """The outcome of a run; times are from the start of a change to the first decision under it."""

    changes: int
    gateways: int
    partitions: int
    expected: int
    """Decisions that had to turn: one a change and partition."""
    turned: int
    late: int
    """Decisions under the old policy about messages that were sent after the change had returned."""
    within_200ms_percent: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    change_p50_ms: float
    """From the start of a change until it has returned."""
    change_p99_ms: float

    @property
    def is_complete(self) -> bool:
        """Whether every decision turned, and none came late."""
        return self.turned == self.expected and not self.late


@dataclass(slots=True)
class _Expected:
    """What decisions have to say from now on."""

    is_allowed: bool
    began_ns: int
    returned_ns: int = 0
    turned: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    """By partition: when the first decision under the change was known, in monotonic nanoseconds."""


class _Probes:
    """Sends one message after the other to an agent of each partition, and watches what is decided."""

    def __init__(self, client: Client, targets: dict[int, str], size: int) -> None:
        self._client = client
        self._targets = targets
        self._data = payload(size)
        self.late = 0
        self.expected = self.expect(is_allowed=True)

    def expect(self, *, is_allowed: bool) -> _Expected:
        """A change begins."""
        loop = asyncio.get_running_loop()
        self.expected = _Expected(
            is_allowed, time.monotonic_ns(), turned={number: loop.create_future() for number in self._targets}
        )
        return self.expected

    async def run(self) -> None:
        """Probe all partitions until cancelled."""
        await asyncio.gather(*(self._probe(*item) for item in self._targets.items()))

    async def _probe(self, partition: int, target: str) -> None:
        while True:
            expected, sent_ns = self.expected, time.monotonic_ns()
            try:
                await self._client.send(target, MESSAGE_TYPE, {**self._data, "number": 0})
                is_allowed = True
            except Forbidden:
                is_allowed = False
            except Backpressure:
                await asyncio.sleep(PAUSE_S)
                continue
            if expected is not self.expected:
                continue
            turned = expected.turned[partition]
            if is_allowed is expected.is_allowed:
                if not turned.done():
                    turned.set_result(time.monotonic_ns())
            elif expected.returned_ns and sent_ns > expected.returned_ns:
                self.late += 1


async def policy(
    system: System,
    *,
    changes: int = 20,
    seconds: float = 0.0,
    size: int = 300,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> PolicyResult:
    """Forbid and allow again that an agent sends to others, and watch when decisions turn.

    Args:
        system: A running system; its keys must be at hand.
        changes: How many changes; 0 for as many as go within `seconds`.
        seconds: How long to go on.
        size: Bytes of each payload, about.
        on_progress: Called with the number of changes so far.

    Raises:
        UsageError: A number makes no sense.
        GatewayDown: No gateway runs.
    """
    if min(changes, seconds) < 0 or size < 1 or not (changes or seconds):
        raise UsageError("a run needs a number of changes or a time", hint="--count 20, or --for 10s")
    await system.require_gateway()
    prefix = f"bench-{new_instance_id()[:6]}"
    sender = f"{prefix}-sender"
    targets = _one_in_each_partition(prefix, system.store.partitions)
    denial = Rule("", "deny", sender, "*", type=MESSAGE_TYPE, reason="mas bench", by=system.actor)
    times, change_times = array("q"), array("q")
    turned = done = 0
    ends_at = time.monotonic() + seconds if seconds else float("inf")
    async with (
        cast_of(system, names=[(sender, target) for target in targets.values()]) as cast,
        receiving(system, [(name, cast.tokens[name], ()) for name in cast.receivers]),
        Client(system.store, sender, cast.tokens[sender]) as client,
    ):
        probes = _Probes(client, targets, size)
        probing = asyncio.create_task(probes.run())
        try:
            await asyncio.wait_for(asyncio.gather(*probes.expected.turned.values()), DECISION_SECONDS)
            for number in itertools.count():
                if (changes and number >= changes) or time.monotonic() > ends_at:
                    break
                is_allowed = number % 2 == 1
                expected = probes.expect(is_allowed=is_allowed)
                edit = _without if is_allowed else add_rule
                await system.policy.change(partial(edit, rule=denial))
                expected.returned_ns = time.monotonic_ns()
                change_times.append(expected.returned_ns - expected.began_ns)
                await asyncio.wait(expected.turned.values(), timeout=DECISION_SECONDS)
                if probing.done():
                    probing.result()
                for future in expected.turned.values():
                    if future.done():
                        turned += 1
                        times.append(future.result() - expected.began_ns)
                done += 1
                on_progress(done)
                await asyncio.sleep(PAUSE_S)
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
    found, change_found = spread(times), spread(change_times)
    within = sum(1 for item in times if item <= IN_FORCE_MS * 1_000_000)
    total = done * len(targets)
    return PolicyResult(
        done,
        len(await system.gateways()),
        len(targets),
        total,
        turned,
        probes.late,
        round(100 * within / max(1, total), 2),
        found.p50_ms,
        found.p95_ms,
        found.p99_ms,
        round(max(times, default=0) / 1e6, 3),
        change_found.p50_ms,
        change_found.p99_ms,
    )


def _one_in_each_partition(prefix: str, partitions: int) -> dict[int, str]:
    targets: dict[int, str] = {}
    names = (f"{prefix}-{number}" for number in itertools.count())
    while len(targets) < partitions:
        name = next(names)
        targets.setdefault(partition_of(name, partitions), name)
    return targets


def _without(document: PolicyDocument, rule: Rule) -> PolicyDocument:
    found = find_rule(document, rule)
    return remove_rule(document, found.id) if found else document
