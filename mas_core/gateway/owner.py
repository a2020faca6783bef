"""The owner of one partition: reads its ingress, judges batches and commits them.

While one batch is being committed the next is read and judged. What the owner knows of a partition is a copy
of the store; whenever a commit does not go through as expected it throws the copy away and starts over from
the store. That one way back serves a changed policy, a lost connection and a lost lease alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mas_core.audit.sinks.required_files import RequiredFiles
from mas_core.base.backoff import exponential_delays
from mas_core.base.failpoints import failpoint
from mas_core.base.ids import new_instance_id
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import (
    ConfigurationError,
    InternalError,
    MasError,
    SinkUnavailable,
    StoreFull,
    StoreUnreachable,
)
from mas_core.gateway.approvals import MAX_HELD
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.control_budget import ControlBudget
from mas_core.gateway.directory import Directory
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.judge import Judge, JudgedBatch
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.opening import OpenedFrame, Opener
from mas_core.gateway.operator_records import OperatorRecords
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.payload_evidence import PayloadEvidence
from mas_core.gateway.places import Places
from mas_core.gateway.read_ahead import ReadAhead
from mas_core.gateway.schedule import ScheduleBounds
from mas_core.gateway.sessions import Sessions
from mas_core.gateway.transit import Verdict
from mas_core.model.decision import Decision
from mas_core.model.operator_entry import OPERATOR_LANE
from mas_core.model.priority import LANE_WEIGHTS
from mas_core.model.retry import AS_EVER, RetryTerms
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.gateway_settings import AuditSettings
from mas_core.store.commits import Commit, CommitResult
from mas_core.store.partitions import LeaseHeld, Lookups, Meta, StoredFrame
from mas_core.store.store import Store

log = get_logger(__name__)

_STORE_TROUBLE = (StoreUnreachable, StoreFull, ConfigurationError)
"""The server does not answer, takes no writes, or does not let us in: no frame is to blame."""
MAX_DUE_MESSAGES = 500
MAX_DUE_BYTES = 1_000_000
"""Messages that were kept for later are taken up in batches of so many bytes, or one by one."""
MORE_DUE_S = 0.02
"""When they are looked for again where more were due; those in hand are committed by then, or asked for twice."""
CAREFUL_BATCHES = 64
"""Batches of one frame after a batch that could not be judged."""
DUE_INTERVAL_S = 0.25
"""How often messages that were kept for later are looked for."""
RECOVERY_DELAY_S = 0.2
MAX_RECOVERY_DELAY_S = 1.0
TIME_HOLDS_S = 1.0
"""How long the server's clock is carried on by our own before it is asked again."""
ANSWER_WAIT_S = 1.0
"""How long an owner that starts over waits for answers that are on their way."""
AUDIT_RETRY_S = 1.0
"""How long everything is refused after the audit took no record, until it is tried again."""
AUDIT_UNAVAILABLE = Verdict(
    Decision.STORE_FULL,
    "the audit takes no records, and nothing is delivered without one",
    "audit_unavailable",
    retry_after=AUDIT_RETRY_S,
    hint=("mas status", "mas audit verify"),
)


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """What an owner needs to know of the gateway it belongs to."""

    gateway_id: str
    lease_ms: int = 1500
    inbox_bound: int = 10_000
    lane_weights: Mapping[str, int] = field(default_factory=lambda: dict(LANE_WEIGHTS))
    """Messages judged of each lane in one round while all lanes are full."""
    control_per_minute: int = 1200
    """Messages to the gateway itself that an agent may send."""
    audit: AuditSettings = field(default_factory=AuditSettings)
    """Files that records have to be in before anything is delivered."""
    retry: RetryTerms = AS_EVER
    """When messages come again that could not be handled, where their agent does not say."""
    schedule: ScheduleBounds = field(default_factory=ScheduleBounds)
    """How many messages may be scheduled at a time."""
    payload_keys: Path | None = None
    """Folder of the keys under which copies of payloads are sealed, where the policy keeps any."""


@dataclass(slots=True)
class Counters:
    """What an owner did, for status and metrics."""

    messages: int = 0
    batches: int = 0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch of opened frames with the answers that judging them needs."""

    opened: list[OpenedFrame]
    lookups: Lookups
    operator_entries: list[StoredFrame]


class StartOver(Exception):
    """The owner's copy of the partition no longer counts."""


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
        self._ledger = Ledger(keys, settings.gateway_id)
        self._operator_records = OperatorRecords(keys, self._ledger)
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
        self._opener = Opener(
            directory,
            self._sessions,
            namespace=store.namespace,
            partition=partition,
            gateway_key_id=keys.key_id,
        )
        self._layout = store.keys.layout
        self._places = Places(partition, self._layout.partitions)
        self._controls = ControlBudget(settings.control_per_minute)
        self._stopping = asyncio.Event()
        self._read_ahead = ReadAhead(self._partition, settings.lane_weights)
        self._in_hand: list[StoredFrame] = []
        self._careful_batches = 0
        self._condemned: set[tuple[str, str]] = set()
        self._is_asking = False
        self._now = 0
        """When the last batch was judged, by the server's clock."""
        self._server_time = (0, 0.0)
        """What the server's clock last said, and when, by the monotonic clock."""
        self._due_at = 0.0
        self._delays = _recovery_delays()
        self._is_behind = False
        """Whether replicas lack the last commit, so that nothing is answered."""
        self.audit_blocked_until = 0.0
        """Until then everything is refused, because the audit takes no records; 0 when it does."""
        self.counters = Counters()
        audit = settings.audit
        self._required = (
            RequiredFiles(audit.files, audit.max_file_bytes, partition, store.width, audit.require)
            if audit.files and audit.require != "none"
            else None
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
        if self._read_ahead.operator_log_unreadable:
            found.append("the operator log cannot be read: what operators do is not carried out")
        if self.audit_blocked_until:
            found.append(f"the audit of partition {self.partition} takes no records: everything is refused")
        if self._is_behind:
            found.append(
                f"too few replicas have what partition {self.partition} committed: nothing is answered"
            )
        if self._required is not None:
            found += [f"the audit file {name}: {why}" for name, why in self._required.problems.items()]
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
        if self._careful_batches and len(self._in_hand) == 1:
            self._condemned.add((self._in_hand[0].lane, self._in_hand[0].entry))
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
        self._meta = meta
        self._is_behind = False
        self._places.start_over()
        self._revision = meta.policy_revision
        self._epoch = meta.epoch
        await self._directory.refresh()
        self._inboxes.restart(self._directory.roster.attached(self.partition))
        self._ledger.restart(int(meta.audit_seq or 0), meta.audit_head)
        self._sessions.clear()
        self._outbound.clear()
        self._cursors = dict(meta.cursors)
        if self.partition == 0:
            self._cursors[OPERATOR_LANE] = meta.operator_cursor
        self._read_ahead.start_from(self._cursors)
        self._audit = (meta.audit_seq, meta.audit_head)
        self._now = await self._store.connection.time_ms()
        self._server_time = (self._now, time.monotonic())
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
            schedule_bounds=self._settings.schedule,
            places=self._places,
            controls=self._controls,
            retry=self._settings.retry,
            frames_since=meta.frames_since,
        )

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
        preparing = asyncio.create_task(self._prepare())
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
                    preparing = asyncio.create_task(self._prepare())
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
                    preparing = asyncio.create_task(self._prepare())
            if committing is not None:
                await committing
        finally:
            # What they reserved can only be given back when the server's answer is known.
            asked = [preparing] if self._is_asking else []
            if under_way := [*asked, *([committing] if committing is not None else [])]:
                await asyncio.wait(under_way, timeout=ANSWER_WAIT_S)
            await _end(preparing)
            await self._read_ahead.stop()
            if committing is not None:
                await _end(committing)

    async def _prepare(self) -> _Prepared:
        """Wait for frames, open them, and ask what judging them needs."""
        await self._read_ahead.wait(max(0.0, self._due_at - time.monotonic()))
        self._in_hand = self._read_ahead.take(one=self._careful_batches > 0)
        # While the audit takes no records they stay where they are.
        entries = (
            [] if self.audit_blocked_until > time.monotonic() else self._read_ahead.take_operator_entries()
        )
        if self._in_hand:
            failpoint("gateway.taken")
        opened = [self._open(stored) for stored in self._in_hand]
        if opened:
            failpoint("gateway.opened")
        told, at = self._server_time
        since_s = time.monotonic() - at
        now = told + int(since_s * 1000)
        lookups = self._partition.lookups()
        self._judge.ask(opened, lookups, now)
        if time.monotonic() >= self._due_at:
            lookups.due_messages(now, MAX_DUE_MESSAGES, MAX_DUE_BYTES)
            self._due_at = time.monotonic() + DUE_INTERVAL_S
        if opened and lookups.is_empty and since_s < TIME_HOLDS_S:
            # Nothing to wait for. A policy that has changed meanwhile is noticed by the commit.
            lookups.now, lookups.policy_revision = now, self._revision
        else:
            self._is_asking = True
            try:
                await lookups.run()
            finally:
                self._is_asking = False
            self._server_time = (lookups.now, time.monotonic())
            if lookups.has_more_due:
                self._due_at = time.monotonic() + MORE_DUE_S
            failpoint("gateway.looked_up")
        self._places.reserved(lookups.grants)
        if self._judge.needs_registry(opened, now):
            await self._directory.roster.refresh()
        return _Prepared(opened, lookups, entries)

    def _open(self, stored: StoredFrame) -> OpenedFrame:
        if (stored.lane, stored.entry) in self._condemned:
            return OpenedFrame(stored, rejection="the frame cannot be judged")
        return self._opener.open(stored)

    def _judge_batch(self, prepared: _Prepared) -> JudgedBatch | None:
        opened, lookups, entries = prepared.opened, prepared.lookups, prepared.operator_entries
        if lookups.policy_revision != self._revision:
            raise StartOver
        # The clock never goes backwards for decisions, whatever the server's does.
        self._now = lookups.now = max(self._now, lookups.now)
        has_more = self._breakers.records.has_writes or self._judge.has_directives(self._now)
        if not opened and not lookups.due and not has_more and not entries:
            self._places.keep(lookups.grants)
            return None
        if self.audit_blocked_until > time.monotonic():
            if entries:
                raise StartOver
            if not opened:
                self._places.keep(lookups.grants)
                return None
            self._note(opened)
            return self._judge.refuse_all(opened, lookups, self._new_commit(opened), AUDIT_UNAVAILABLE)
        if entries:
            self._operator_records.record(entries, lookups.now)
        judged = self._judge.judge(opened, lookups, self._new_commit(opened, entries))
        self._audit = (str(self._ledger.seq), self._ledger.head) if self._ledger.seq else ("", "")
        self._note(opened)
        failpoint("gateway.judged")
        return judged

    def _new_commit(self, opened: list[OpenedFrame], entries: Sequence[StoredFrame] = ()) -> Commit:
        expected = {
            "nonce": self._nonce,
            "epoch": self._epoch,
            "policy_revision": self._revision,
            "layout": self._meta.layout,
            "audit_seq": self._audit[0],
            "audit_head": self._audit[1],
        }
        for frame in opened:
            lane = frame.stored.lane
            expected.setdefault(f"cursor:{lane}", self._cursors[lane])
        for frame in opened:
            self._cursors[frame.stored.lane] = frame.stored.entry
        if entries:
            expected[f"cursor:{OPERATOR_LANE}"] = self._cursors[OPERATOR_LANE]
            self._cursors[OPERATOR_LANE] = entries[-1].entry
        commit = Commit(self._store.keys, self.partition, expected, self._settings.lease_ms)
        if entries:
            commit.move_operator_cursor(entries[-1].entry)
        return commit

    def _note(self, opened: list[OpenedFrame]) -> None:
        self.counters.batches += 1
        self.counters.messages += sum(len(frame.envelopes or ()) for frame in opened)

    async def _commit(self, batch: JudgedBatch) -> None:
        self._places.keep(batch.grants)
        if self._required is not None and batch.commit.audit_block:
            await self._write_required(self._required, batch.commit.audit_block)
        sent_at = time.monotonic()
        stock = self._places.restock(batch.grants, self._directory.limits, self._store.keys)
        failpoint("gateway.before_commit")
        reply = await self._partition.commit(batch.commit, stock)
        failpoint("gateway.after_commit")
        self._places.restocked(reply.grants, sent_at)
        is_done = reply.result is CommitResult.DONE
        self._places.commit_ends(batch.grants, batch.places, is_done=is_done)
        if reply.result is CommitResult.BLOCKED:
            log.error("partition.blocked", partition=self.partition, key=reply.key)
            if reply.key == self._store.keys.audit(self.partition):
                self.audit_blocked_until = time.monotonic() + AUDIT_RETRY_S
                raise StartOver
            await asyncio.sleep(1)
        if not is_done or batch.commit.makes_anew:
            raise StartOver
        self._inboxes.committed_batches += 1
        if self.audit_blocked_until and self.audit_blocked_until <= time.monotonic():
            self.audit_blocked_until = 0.0
            log.warning("audit.available", partition=self.partition)
        self._delays = _recovery_delays()
        if not reply.is_covered:
            await self._wait_for_replicas(batch.commit)
        for partition, agent_id, instance, frame in batch.foreign_answers:
            failpoint("gateway.before_answer")
            await self._partition.put_answer(partition, agent_id, instance, frame)
            failpoint("gateway.after_answer")

    async def _write_required(self, files: RequiredFiles, block: bytes) -> None:
        async def stored(first_seq: int) -> AsyncIterator[bytes]:
            async for found in self._store.records.audit_blocks(self.partition, first_seq=first_seq):
                yield found.text

        try:
            await files.write(block, int(self._epoch), stored)
        except SinkUnavailable:
            self.audit_blocked_until = time.monotonic() + AUDIT_RETRY_S
            raise StartOver from None

    async def _wait_for_replicas(self, commit: Commit) -> None:
        """Answer nobody until enough replicas have the commit; who waits meanwhile gets no answer at all."""
        self._is_behind = True
        log.warning("replicas.behind", partition=self.partition, wanted=self._store.replicas)
        while not (
            is_covered := await self._partition.is_covered(
                self._nonce, self._settings.lease_ms, commit.audit_after
            )
        ):
            if is_covered is None or self._stopping.is_set():
                raise StartOver
            await asyncio.sleep(RECOVERY_DELAY_S)
        self._is_behind = False
        log.warning("replicas.caught_up", partition=self.partition)


def _recovery_delays() -> Iterator[float]:
    return exponential_delays(RECOVERY_DELAY_S, MAX_RECOVERY_DELAY_S)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StartOver, MasError):
        await task
