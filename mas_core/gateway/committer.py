"""Commits the batches of one owner, in order: each says how the partition must stand, and moves it on.

What goes through is answered once enough replicas have it. A commit that does not go through leaves the owner
with a copy of the partition that no longer counts, so it starts over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from mas_core.audit.sinks.required_files import RequiredFiles
from mas_core.base.failpoints import failpoint
from mas_core.base.logs import get_logger
from mas_core.errors import SinkUnavailable
from mas_core.gateway.directory import Directory
from mas_core.gateway.gathering import JudgedBatch
from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.owner_settings import OwnerSettings
from mas_core.gateway.places import Places
from mas_core.model.operator_entry import OPERATOR_LANE
from mas_core.store.commits import Commit, CommitResult
from mas_core.store.partitions import Meta, PartitionStore
from mas_core.store.store import Store
from mas_core.store.stored import StoredFrame

log = get_logger(__name__)

AUDIT_RETRY_S = 1.0
"""How long everything is refused after the audit took no record, until it is tried again."""
REPLICA_LOOK_S = 0.2
"""How often replicas that are behind are asked whether they have caught up."""


class StartOver(Exception):
    """The owner's copy of the partition no longer counts."""


class Committer:
    """How one owner's copy of a partition stands, and the commits that move it on.

    Args:
        store: The system.
        partition: The partition, as its owner sees it.
        nonce: The owner's, by which the store knows it.
        settings: How the owner works.
        directory: Tells the limits whose places are reserved along with commits.
        places: What is reserved and given back.
        stopping: Set once the owner gives up.
    """

    def __init__(
        self,
        store: Store,
        partition: PartitionStore,
        nonce: str,
        settings: OwnerSettings,
        directory: Directory,
        places: Places,
        stopping: asyncio.Event,
    ) -> None:
        self._store = store
        self._partition = partition
        self._number = partition.partition
        self._nonce = nonce
        self._lease_ms = settings.lease_ms
        self._tracing = settings.tracing
        self._directory = directory
        self._places = places
        self._stopping = stopping
        self._epoch = ""
        self._layout = ""
        self._audit = ("", "")
        self.revision = ""
        """The policy that the owner judges by."""
        self.cursors: dict[str, str] = {}
        """The last entry of each lane that is judged."""
        self.audit_blocked_until = 0.0
        """Until then everything is refused, because the audit takes no records; 0 when it does."""
        self.is_behind = False
        """Whether replicas lack the last commit, so that nothing is answered."""
        audit = settings.audit
        self.required = (
            RequiredFiles(audit.files, audit.max_file_bytes, self._number, store.width, audit.require)
            if audit.files and audit.require != "none"
            else None
        )
        """Files that records have to be in before anything is delivered."""

    @property
    def is_audit_blocked(self) -> bool:
        """Whether the audit takes no records for the moment."""
        return self.audit_blocked_until > time.monotonic()

    def start_from(self, meta: Meta) -> None:
        """The partition stands as the store says."""
        self.is_behind = False
        self._epoch = meta.epoch
        self._layout = meta.layout
        self._audit = (meta.audit_seq, meta.audit_head)
        self.revision = meta.policy_revision
        self.cursors = dict(meta.cursors)
        if self._number == 0:
            self.cursors[OPERATOR_LANE] = meta.operator_cursor

    def begin(self, opened: Sequence[OpenedFrame], entries: Sequence[StoredFrame] = ()) -> Commit:
        """A commit that expects the partition as the batch before leaves it.

        Args:
            opened: The frames of the batch; the lanes stand behind them from here on.
            entries: Entries of the operator log that it records.
        """
        expected = {
            "nonce": self._nonce,
            "epoch": self._epoch,
            "policy_revision": self.revision,
            "layout": self._layout,
            "audit_seq": self._audit[0],
            "audit_head": self._audit[1],
        }
        for frame in opened:
            lane = frame.stored.lane
            expected.setdefault(f"cursor:{lane}", self.cursors[lane])
        for frame in opened:
            self.cursors[frame.stored.lane] = frame.stored.entry
        if entries:
            expected[f"cursor:{OPERATOR_LANE}"] = self.cursors[OPERATOR_LANE]
            self.cursors[OPERATOR_LANE] = entries[-1].entry
        commit = Commit(self._store.keys, self._number, expected, self._lease_ms)
        if entries:
            commit.move_operator_cursor(entries[-1].entry)
        return commit

    def audit_moves(self, seq: int, head: str) -> None:
        """The batch that was judged leaves the audit like this."""
        self._audit = (str(seq), head) if seq else ("", "")

    async def commit(self, batch: JudgedBatch) -> bool:
        """Carry a commit out.

        Returns:
            Whether enough replicas have it already.

        Raises:
            StartOver: It did not go through.
            StoreUnreachable, StoreFull: It is not known whether it did, or the server takes no writes.
        """
        self._places.keep(batch.grants)
        if self.required is not None and batch.commit.audit_block:
            await self._write_required(self.required, batch.commit.audit_block)
        sent_at = time.monotonic()
        stock = self._places.restock(batch.grants, self._directory.limits, self._store.keys)
        failpoint("gateway.before_commit")
        reply = await self._partition.commit(batch.commit, stock)
        failpoint("gateway.after_commit")
        self._places.restocked(reply.grants, sent_at)
        is_done = reply.result is CommitResult.DONE
        self._places.commit_ends(batch.grants, batch.places, is_done=is_done)
        if reply.result is CommitResult.BLOCKED:
            log.error("partition.blocked", partition=self._number, key=reply.key)
            if reply.key == self._store.keys.audit(self._number):
                self.audit_blocked_until = time.monotonic() + AUDIT_RETRY_S
                raise StartOver
            await asyncio.sleep(1)
        if not is_done or batch.commit.makes_anew:
            raise StartOver
        if self.audit_blocked_until and not self.is_audit_blocked:
            self.audit_blocked_until = 0.0
            log.warning("audit.available", partition=self._number)
        return reply.is_covered

    async def answer(self, batch: JudgedBatch, *, is_covered: bool) -> None:
        """Send the answers that wait for the commit, once enough replicas have it.

        Raises:
            StartOver: Another owns the partition now, or this one gives up.
        """
        if not is_covered:
            await self._wait_for_replicas(batch.commit)
        if self._tracing is not None and batch.commit.audit_block:
            self._tracing.put(batch.commit.audit_block, batch.contexts, self._number)
        for partition, agent_id, instance, frame in batch.foreign_answers:
            failpoint("gateway.before_answer")
            await self._partition.put_answer(partition, agent_id, instance, frame)
            failpoint("gateway.after_answer")

    async def _write_required(self, files: RequiredFiles, block: bytes) -> None:
        async def stored(first_seq: int) -> AsyncIterator[bytes]:
            async for found in self._store.records.audit_blocks(self._number, first_seq=first_seq):
                yield found.text

        try:
            await files.write(block, int(self._epoch), stored)
        except SinkUnavailable:
            self.audit_blocked_until = time.monotonic() + AUDIT_RETRY_S
            raise StartOver from None

    async def _wait_for_replicas(self, commit: Commit) -> None:
        """Answer nobody until enough replicas have the commit; who waits meanwhile gets no answer at all."""
        self.is_behind = True
        log.warning("replicas.behind", partition=self._number, wanted=self._store.replicas)
        while not (
            is_covered := await self._partition.is_covered(self._nonce, self._lease_ms, commit.audit_after)
        ):
            if is_covered is None or self._stopping.is_set():
                raise StartOver
            await asyncio.sleep(REPLICA_LOOK_S)
        self.is_behind = False
        log.warning("replicas.caught_up", partition=self._number)
