"""Gathers what follows from a judged batch into one commit: records, deliveries, answers and other effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mas_core.base.ids import partition_of
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.decided_ids import DecidedIds
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.places import Grants
from mas_core.model.frame import Frame
from mas_core.model.trace_context import TraceContext
from mas_core.store.commits import Commit
from mas_core.store.lookups import Lookups


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """A commit, and the answers that go to other partitions once it is through."""

    commit: Commit
    foreign_answers: list[tuple[int, str, str, Frame]]
    grants: Grants
    places: dict[str, int]
    """Places of the grants that no message took."""
    contexts: dict[int, TraceContext]
    """Number of a record -> the trace context of its message, while spans are exported."""


class Gathering:
    """What the parts of a gateway have collected for one partition, in the order in which it is written."""

    def __init__(
        self,
        ledger: Ledger,
        outbound: Outbound,
        inboxes: Inboxes,
        breakers: Breakers,
        decided: DecidedIds,
        effects: list[Callable[[Commit], None]],
        *,
        partition: int,
        partitions: int,
        answers_after_commit: bool,
    ) -> None:
        self._ledger = ledger
        self._outbound = outbound
        self._inboxes = inboxes
        self._breakers = breakers
        self._decided = decided
        self._effects = effects
        self._partition = partition
        self._partitions = partitions
        self._answers_after_commit = answers_after_commit

    def gather(
        self, commit: Commit, cursors: dict[str, str], lookups: Lookups, places: dict[str, int]
    ) -> JudgedBatch:
        """Put everything that follows from a batch into its commit, and begin the next.

        Args:
            commit: Gets it.
            cursors: Lane -> the last frame of it that was judged.
            lookups: What was asked before.
            places: Places of rate limits that no message took.
        """
        now = lookups.now
        block = self._ledger.take_block()
        if block:
            commit.add_audit(block, self._ledger.seq, self._ledger.head)
        if self._ledger.payload_evidence is not None:
            for seq, sealed in self._ledger.payload_evidence.take_copies():
                commit.keep_payload(seq, sealed)
        for lane, entry in cursors.items():
            commit.move_cursor(lane, entry)
        for agent_id, lane, frame, count in self._outbound.inbox_frames(now):
            commit.deliver(agent_id, lane, frame, count)
        for effect in self._effects:
            effect(commit)
        self._breakers.write(commit, now)
        foreign: list[tuple[int, str, str, Frame]] = []
        for agent_id, instance, frame in self._outbound.reply_frames(now):
            self._put_answer(commit, foreign, agent_id, instance, frame, may_wait=False)
        for agent_id, instance, frame in self._outbound.receipt_frames(now):
            self._put_answer(commit, foreign, agent_id, instance, frame, may_wait=self._answers_after_commit)
        self._effects.clear()
        self._decided.end_batch()
        self._inboxes.end_batch()
        return JudgedBatch(commit, foreign, lookups.grants, places, self._ledger.take_contexts())

    def _put_answer(
        self,
        commit: Commit,
        foreign: list[tuple[int, str, str, Frame]],
        agent_id: str,
        instance: str,
        frame: Frame,
        *,
        may_wait: bool,
    ) -> None:
        partition = partition_of(agent_id, self._partitions)
        if partition == self._partition and not may_wait:
            commit.answer(agent_id, instance, frame)
        else:
            foreign.append((partition, agent_id, instance, frame))
