"""The owner of one partition: reads its ingress, judges batches and commits them.

While one batch is being committed the next is read and judged. What the owner knows of a partition is a copy
of the store; whenever a commit does not go through as expected it throws the copy away and starts over from
the store. That one way back serves a changed policy, a lost connection and a lost lease alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mas_core.base.backoff import exponential_delays
from mas_core.base.failpoints import failpoint
from mas_core.base.ids import new_instance_id
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.coordination.machine import Command
from mas_core.errors import (
    ConfigurationError,
    InternalError,
    MasError,
    StoreFull,
    StoreUnreachable,
)
from mas_core.gateway.approvals import MAX_HELD
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.committer import AUDIT_RETRY_S, Committer, StartOver
from mas_core.gateway.control_budget import ControlBudget
from mas_core.gateway.directory import Directory
from mas_core.gateway.gathering import JudgedBatch
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.judge import Judge
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.opening import OpenedFrame, Opener
from mas_core.gateway.operator_records import OperatorRecords
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.owner_settings import OwnerSettings
from mas_core.gateway.payload_evidence import PayloadEvidence
from mas_core.gateway.places import Places
from mas_core.gateway.preparer import PreparedBatch, Preparer
from mas_core.gateway.read_ahead import ReadAhead
from mas_core.gateway.sessions import Sessions
from mas_core.gateway.subscriptions import Subscriptions
from mas_core.gateway.topic_records import StoredTopics
from mas_core.gateway.transit import Verdict
from mas_core.model.decision import Decision
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.store.partitions import LeaseHeld, Meta
from mas_core.store.resources import load_resources
from mas_core.store.store import Store

log = get_logger(__name__)

_STORE_TROUBLE = (StoreUnreachable, StoreFull, ConfigurationError)
"""The server does not answer, takes no writes, or does not let us in: no frame is to blame."""
CAREFUL_BATCHES = 64
"""Batches of one frame after a batch that could not be judged."""
RECOVERY_DELAY_S = 0.2
MAX_RECOVERY_DELAY_S = 1.0
LOOK_AGAIN_S = 0.5
"""When an owner starts over that could not read what is known of topics."""
ANSWER_WAIT_S = 1.0
"""How long an owner that starts over waits for answers that are on their way."""
AUDIT_UNAVAILABLE = Verdict(
    Decision.STORE_FULL,
    "the audit takes no records, and nothing is delivered without one",
    "audit_unavailable",
    retry_after=AUDIT_RETRY_S,
    hint=("mas status", "mas audit verify"),
)


@dataclass(slots=True)
class Counters:
    """What an owner did, for status and metrics."""

    messages: int = 0
    batches: int = 0


class LeaseLost(Exception):
    """Somebody else owns the partition now."""


class PartitionOwner:
    """Owns one partition for as long as it holds the lease."""

    def __init__(
        self, store: Store, partition: int, keys: GatewayKeys, directory: Directory, settings: OwnerSettings
    ) -> None:
        self._store = store
        self._partition = store.partition(partition)
        self.partition = partition
        self._keys = keys
        self._directory = directory
        self._settings = settings
        self._nonce = new_instance_id()
        self._ledger = Ledger(keys, settings.gateway_id, settings.work)
        self._ledger.is_traced = settings.tracing is not None
        self._operator_records = OperatorRecords(keys, self._ledger, lambda: directory.policy)
        self._sessions = Sessions()
        self._inboxes = Inboxes(settings.inbox_bound)
        self._breakers = Breakers(keys, self._ledger)
        self._outbound = Outbound(
            directory,
            namespace=store.namespace,
            partition=partition,
            session=self._nonce,
            gateway_key_id=keys.key_id,
        )
        self._layout = store.keys.layout
        self._places = Places(partition, self._layout.partitions)
        self._controls = ControlBudget(settings.control_per_minute)
        self._subscriptions = Subscriptions()
        self._look_again_at = math.inf
        self._stopping = asyncio.Event()
        self._read_ahead = ReadAhead(self._partition, settings.lane_weights)
        self._careful_batches = 0
        self._judge_alarms: Callable[[], list[str]] = list
        self.stages_on: tuple[str, ...] | None = None
        """The stages that messages pass because the policy wants them; None before it is known."""
        self._waiting: Callable[[], list[tuple[str, Command]]] = list
        self._now = 0
        """When the last batch was judged, by the server's clock."""
        self._delays = _recovery_delays()
        self.counters = Counters()
        self._committer = Committer(
            store, self._partition, self._nonce, settings, directory, self._places, self._stopping
        )
        opener = Opener(
            directory,
            self._sessions,
            namespace=store.namespace,
            partition=partition,
            gateway_key_id=keys.key_id,
        )
        self._preparer = Preparer(
            self._partition, self._read_ahead, opener, self._committer, self._places, directory
        )

    @property
    def breaker_records_unreadable(self) -> int:
        """Records of circuits that could not be read, so that these count as closed."""
        return self._breakers.records.unreadable

    @property
    def alarms(self) -> list[str]:
        """What is wrong and needs an operator."""
        found = list(self._directory.alarms)
        if self._breakers.records.unreadable:
            count = self._breakers.records.unreadable
            found.append(f"records of circuits could not be read {count} times: the circuits count as closed")
        evidence = self._ledger.payload_evidence
        if evidence is not None and evidence.problem:
            found.append(
                f"payloads are delivered without the copy that the policy asks for: {evidence.problem}"
            )
        found += self._judge_alarms()
        if self._read_ahead.operator_log_unreadable:
            found.append("the operator log cannot be read: what operators do is not carried out")
        if self._committer.audit_blocked_until:
            found.append(f"the audit of partition {self.partition} takes no records: everything is refused")
        if self._committer.is_behind:
            found.append(
                f"too few replicas have what partition {self.partition} committed: nothing is answered"
            )
        required = self._committer.required
        if required is not None:
            found += [f"the audit file {name}: {why}" for name, why in required.problems.items()]
        return found

    async def acquire(self, *, only_orphaned: bool = False) -> bool:
        """Take the lease if it is free, and start from what the store says."""
        meta = await self._partition.acquire(
            self._settings.gateway_id,
            self._nonce,
            self._settings.lease_ms,
            self._layout.name,
            only_orphaned=only_orphaned,
        )
        if isinstance(meta, LeaseHeld):
            return False
        log.info("partition.owned", partition=self.partition, epoch=meta.epoch)
        failpoint("gateway.acquired")
        await self._start_from(meta)
        failpoint("gateway.loaded")
        return True

    async def stop(self) -> None:
        """Finish the batch in hand, then give the lease up."""
        self._stopping.set()
        self._read_ahead.wake()

    async def run(self) -> None:
        """Work until stopped or until the lease is lost."""
        renewing = asyncio.create_task(self._keep_lease())
        try:
            while not self._stopping.is_set():
                try:
                    await self._work()
                except StartOver:
                    await self._recover()
                except _STORE_TROUBLE as error:
                    log.warning("store.unavailable", partition=self.partition, reason=error.message)
                    # A server that takes no writes may be read all the same.
                    await self._pause()
                    await self._recover()
                except LeaseLost:
                    raise
                except Exception as error:  # noqa: BLE001 - no frame may stop a partition
                    log.error("batch.failed", partition=self.partition, trace=trace_of(error))
                    self._single_out()
                    await self._recover()
        except LeaseLost:
            log.warning("partition.lost", partition=self.partition)
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError, MasError):
                await renewing
            with contextlib.suppress(MasError):
                failpoint("gateway.before_release")
                await self._partition.renew(self._nonce, 0)
                failpoint("gateway.after_release")

    def _single_out(self) -> None:
        """A batch could not be judged: go on frame by frame, and past the one that fails alone."""
        if self._careful_batches:
            self._preparer.condemn()
        self._careful_batches = CAREFUL_BATCHES

    async def _keep_lease(self) -> None:
        interval = self._settings.lease_ms / 3000
        while True:
            await asyncio.sleep(interval)
            with contextlib.suppress(MasError):
                failpoint("gateway.before_renew")
                is_ours = await self._partition.renew(self._nonce, self._settings.lease_ms)
                failpoint("gateway.after_renew")
                if not is_ours:
                    # Without a message to commit nothing else would tell, and nobody look after the partition.
                    log.warning("partition.lost", partition=self.partition)
                    await self.stop()
                    return

    async def _recover(self) -> None:
        while not self._stopping.is_set():
            try:
                meta = await self._partition.read_meta(self._nonce)
                if meta is None:
                    raise LeaseLost
                failpoint("gateway.starting_over")
                await self._start_from(meta)
                return
            except _STORE_TROUBLE:
                await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), next(self._delays))

    async def _start_from(self, meta: Meta) -> None:
        self._committer.start_from(meta)
        self._places.start_over()
        await self._directory.refresh()
        self._inboxes.restart(self._directory.roster.attached(self.partition))
        self._ledger.restart(int(meta.audit_seq or 0), meta.audit_head)
        self._sessions.clear()
        self._outbound.clear()
        self._read_ahead.start_from(self._committer.cursors)
        self._now = await self._store.connection.time_ms()
        self._preparer.start_from(self._now)
        await self._load_breakers()
        self._ledger.payload_evidence = PayloadEvidence.of(
            self._keys, self._directory.policy, self._settings.payload_keys
        )
        self._judge = Judge(
            self._directory,
            self._keys,
            self._ledger,
            self._outbound,
            self._inboxes,
            self._breakers,
            partition=self.partition,
            partitions=self._layout.partitions,
            layout=self._layout.number,
            held=await self._held(),
            answers_after_commit=self._store.replicas > 0,
            scheduled=await self._partition.scheduled_messages(),
            resources=await load_resources(self._store.connection, self._store.keys, self.partition),
            topics=StoredTopics(
                await self._topics(),
                self._settings.topics,
                self._subscriptions,
                self._store.namespace,
                self._now,
            ),
            schedule_bounds=self._settings.schedule,
            places=self._places,
            controls=self._controls,
            retry=self._settings.retry,
            frames_since=meta.frames_since,
            tracing=self._settings.tracing,
            former=self._waiting(),
        )
        self._waiting = self._judge.waiting
        self._judge_alarms = self._judge.alarms
        self.stages_on = self._judge.stages_on

    async def _topics(self) -> dict[str, bytes] | None:
        self._look_again_at = math.inf
        try:
            return await self._partition.topics()
        except InternalError as error:
            log.error("topics.unreadable", reason=error.message, effect="topics take no messages")
            self._look_again_at = time.monotonic() + LOOK_AGAIN_S
            return None

    async def _held(self) -> int:
        try:
            return await self._partition.held_messages()
        except InternalError as error:
            log.error("held.unreadable", reason=error.message, effect="nothing more can wait for approval")
            return MAX_HELD

    async def _load_breakers(self) -> None:
        fields: dict[str, bytes] = {}
        if self._directory.policy.features.circuit_breaker:
            try:
                fields = await self._partition.breakers()
            except InternalError as error:
                self._breakers.records.note_unreadable(error.message)
        self._breakers.restart(self._directory.policy, fields, self._now)

    async def _work(self) -> None:
        """Judge one batch while the one before is committed and the one after is looked up."""
        self._read_ahead.start()
        preparing = self._prepare()
        committing: asyncio.Task[None] | None = None
        try:
            while not self._stopping.is_set():
                if committing is not None and not preparing.done():
                    await asyncio.wait((preparing, committing), return_when=asyncio.FIRST_COMPLETED)
                    if committing.done():
                        await committing
                        committing = None
                        continue
                prepared = await preparing
                if not self._careful_batches:
                    preparing = self._prepare()
                    # One turn of the loop is enough for it to send its questions, if there are frames for it.
                    await asyncio.sleep(0)
                batch = self._judge_batch(prepared)
                if committing is not None:
                    await committing
                    committing = None
                if batch is not None:
                    committing = asyncio.create_task(self._commit(batch))
                if self._careful_batches:
                    if committing is not None:
                        await committing
                        committing = None
                    self._careful_batches -= 1
                    preparing = self._prepare()
            if committing is not None:
                await committing
        finally:
            # What they reserved can only be given back when the server's answer is known.
            asked = [preparing] if self._preparer.is_asking else []
            if under_way := [*asked, *([committing] if committing is not None else [])]:
                await asyncio.wait(under_way, timeout=ANSWER_WAIT_S)
            await _end(preparing)
            await self._read_ahead.stop()
            if committing is not None:
                await _end(committing)

    def _prepare(self) -> asyncio.Task[PreparedBatch]:
        return asyncio.create_task(self._preparer.next(self._judge, one=self._careful_batches > 0))

    def _judge_batch(self, prepared: PreparedBatch) -> JudgedBatch | None:
        opened, lookups, entries = prepared.opened, prepared.lookups, prepared.operator_entries
        if lookups.policy_revision != self._committer.revision:
            raise StartOver
        # The clock never goes backwards for decisions, whatever the server's does.
        self._now = lookups.now = max(self._now, lookups.now)
        self._judge.take_answers(lookups)
        if time.monotonic() > self._look_again_at:
            raise StartOver
        has_more = self._breakers.records.has_writes or self._judge.is_due(self._now)
        if not opened and not lookups.due and not has_more and not entries:
            self._places.keep(lookups.grants)
            return None
        if self._committer.is_audit_blocked:
            if entries:
                raise StartOver
            if not opened:
                self._places.keep(lookups.grants)
                return None
            self._note(opened)
            return self._judge.refuse_all(opened, lookups, self._committer.begin(opened), AUDIT_UNAVAILABLE)
        if entries:
            self._operator_records.record(entries, lookups.now)
        judged = self._judge.judge(opened, lookups, self._committer.begin(opened, entries))
        self._committer.audit_moves(self._ledger.seq, self._ledger.head)
        self._note(opened)
        failpoint("gateway.judged")
        return judged

    def _note(self, opened: list[OpenedFrame]) -> None:
        self.counters.batches += 1
        self.counters.messages += sum(len(frame.envelopes or ()) for frame in opened)

    async def _commit(self, batch: JudgedBatch) -> None:
        is_covered = await self._committer.commit(batch)
        self._inboxes.committed_batches += 1
        self._delays = _recovery_delays()
        await self._committer.answer(batch, is_covered=is_covered)


def _recovery_delays() -> Iterator[float]:
    return exponential_delays(RECOVERY_DELAY_S, MAX_RECOVERY_DELAY_S)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StartOver, MasError):
        await task
