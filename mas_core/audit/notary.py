"""The notary: follows the audit of every partition and signs what it reads, outside of the store.

One process for each evidence folder. It trusts the store with nothing: a log that does not continue what the
folder holds is not signed. Records that come after the last checkpoint, at most a second or 256 of them, could be
cut from the store unseen; that window is what the settings `checkpoint_s` and `checkpoint_records` say.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import msgspec

from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_writer import ClosedSegment
from mas_core.audit.notary_status import NotaryStatus, PartitionEvidence
from mas_core.audit.partition_notary import PartitionNotary
from mas_core.audit.restores import carry_out_request
from mas_core.audit.timestamps import Stamper
from mas_core.audit.witnesses import witness_of
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import ConfigurationError, LockHeld, MasError
from mas_core.settings.file_locks import file_lock
from mas_core.settings.gateway_settings import AuditSettings
from mas_core.settings.private_files import private_dir
from mas_core.store.records import AuditBlock
from mas_core.store.store import Store

log = get_logger(__name__)

PASS_S: Final = 0.1
"""How long it gathers what is written before it reads again."""
WAIT_MS: Final = 250
"""How long one reading waits for new records."""
HEARTBEAT_S: Final = 1.0
LOCK_FILE: Final = "notary.lock"

_MAX_PAGE = 1024
_PAGE_BYTES = 8_000_000
"""What one reading brings of a partition at most, as long as blocks are as large as the last ones."""
_PASS_RECORDS = 65_536
"""Records after which a backlog is signed before it is read on."""


class Follower(Protocol):
    """What is fed beside the evidence; it never stops the notary."""

    def take(self, partition: int, records: Sequence[bytes]) -> None:
        """Records that are in the folder now, oldest first."""

    def take_segment(self, segment: ClosedSegment) -> None:
        """A segment that was closed."""


class Notary:
    """Follows a system's audit until it is told to stop.

    Args:
        store: The system.
        folder: The evidence folder.
        keys_dir: Where the private keys are.
        settings: When to sign, and who else gets checkpoints.
        followers: What is fed beside the evidence.
        on_ready: Called with the notary's name once it follows.
        alarm: Tells what is wrong with what is done beside the evidence; empty when nothing is.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        keys_dir: Path,
        settings: AuditSettings | None = None,
        *,
        followers: Sequence[Follower] = (),
        on_ready: Callable[[str], None] = lambda _notary_id: None,
        alarm: Callable[[], str] = lambda: "",
    ) -> None:
        self.folder = folder
        self._store = store
        self._keys_dir = keys_dir
        self._settings = settings or AuditSettings()
        self._followers = followers
        self._on_ready = on_ready
        self._alarm = alarm
        place = f"{socket.gethostname()}\0{folder.absolute()}"
        self.notary_id = f"notary-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
        self._keys: CheckpointKeys | None = None
        self._partitions: list[PartitionNotary] = []
        self._witnesses = [witness_of(item) for item in self._settings.witnesses]
        if self._settings.timestamp_url is not None:
            every_s = self._settings.timestamp_every_s
            self._witnesses.append(Stamper(folder, self._settings.timestamp_url, every_s))
        self._problem = ""
        self._started = 0
        self._page = 32
        self._beat_at = 0.0
        self._is_caught_up = False

    async def run(self, stop: asyncio.Event, *, is_waiting: bool = False) -> None:
        """Follow until `stop` is set, then sign what is there and end.

        Args:
            stop: Ends it.
            is_waiting: Wait while another notary has the folder, and take over when it ends.

        Raises:
            LockHeld: Another notary has the folder.
            ConfigurationError: The folder cannot be used; with `is_waiting` it is tried again.
        """
        while True:
            try:
                with locked(self.folder):
                    await self._follow(stop)
                    return
            except (LockHeld, ConfigurationError) as error:
                if not is_waiting:
                    raise
                self._tell(error.message)
                if not isinstance(error, LockHeld):
                    with contextlib.suppress(MasError):
                        await self._beat()
            if stop.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), HEARTBEAT_S)

    async def _follow(self, stop: asyncio.Event) -> None:
        for witness in self._witnesses:
            witness.start()
        try:
            while not stop.is_set():
                await self._guarded_pass(stop)
            # What was written until now is signed before we go.
            self._is_caught_up = False
            while not self._is_caught_up and not self._problem:
                await self._guarded_pass(stop)
            await self._guarded_sign()
        finally:
            for partition in self._partitions:
                partition.close()
            await asyncio.gather(*(witness.stop() for witness in self._witnesses))
            with contextlib.suppress(MasError):
                await self._store.records.forget_notary(self.notary_id)

    async def _guarded_pass(self, stop: asyncio.Event) -> None:
        try:
            if not self._partitions:
                self._open()
            await self._pass(stop)
        except MasError as error:
            self._tell(error.message)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), HEARTBEAT_S)
        except OSError as error:
            self._tell(f"{self.folder} cannot be used: {error.strerror}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), HEARTBEAT_S)
        else:
            self._problem = ""
        with contextlib.suppress(MasError):
            await self._beat()

    async def _guarded_sign(self) -> None:
        try:
            await self._sign(is_last=True)
        except MasError as error:
            self._tell(error.message)

    def _open(self) -> None:
        keys = self._keys = CheckpointKeys(self.folder, self._keys_dir, self._store.namespace)
        self._partitions = [
            PartitionNotary(self.folder, partition, keys, self._closed)
            for partition in range(self._store.width)
        ]
        log.info("notary.ready", notary=self.notary_id, folder=str(self.folder), origin=keys.name)
        self._on_ready(self.notary_id)

    async def _pass(self, stop: asyncio.Event) -> None:
        """Read until there is nothing more or enough, then sign what is due."""
        taken, block_ms = 0, 0 if stop.is_set() else WAIT_MS
        while taken < _PASS_RECORDS:
            now = time.monotonic()
            after = {
                partition.partition: writer.size
                for partition in self._partitions
                if (writer := partition.ready(now)) is not None
            }
            if not after:
                self._is_caught_up = True
                await asyncio.sleep(0 if stop.is_set() else PASS_S)
                break
            blocks = await self._store.records.new_audit_blocks(after, self._wait(now, block_ms), self._page)
            newest = dict(blocks)
            if not await self._store.records.are_covered(newest):
                # A server took over that lacks what was read: it is read again.
                self._is_caught_up = False
                break
            taken += self._take(blocks)
            self._is_caught_up = not blocks
            if not blocks or (len(blocks) < self._page and not stop.is_set()):
                break
            block_ms = 1
        await self._sign(is_last=False)
        if taken and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PASS_S)

    def _wait(self, now: float, most_ms: int) -> int:
        """Milliseconds for which a reading may wait; at least 1, as 0 is for ever."""
        due = [
            seconds for partition in self._partitions if (seconds := self._due_in(partition, now)) is not None
        ]
        return max(1, min(most_ms, int(min(due) * 1000))) if due else max(1, most_ms)

    def _due_in(self, partition: PartitionNotary, now: float) -> float | None:
        # A record may have waited for two passes before it was read.
        most_s = max(0.0, self._settings.checkpoint_s - 2 * PASS_S)
        return partition.due_in(now, most_s, self._settings.checkpoint_records)

    def _take(self, blocks: Sequence[tuple[int, AuditBlock]]) -> int:
        of_partition: dict[int, list[AuditBlock]] = {}
        for partition, block in blocks:
            of_partition.setdefault(partition, []).append(block)
        taken, now = 0, time.monotonic()
        for number, found in of_partition.items():
            records = self._partitions[number].take(found, now)
            taken += len(records)
            if records:
                self._feed(number, records)
        if blocks:
            average = sum(len(block.text) for _, block in blocks) // len(blocks)
            self._page = max(8, min(_MAX_PAGE, _PAGE_BYTES // (average + 1)))
        return taken

    def _feed(self, partition: int, records: Sequence[bytes]) -> None:
        for follower in self._followers:
            with _contained(follower):
                follower.take(partition, records)

    def _closed(self, segment: ClosedSegment) -> None:
        for follower in self._followers:
            with _contained(follower):
                follower.take_segment(segment)

    async def _sign(self, *, is_last: bool) -> None:
        now = time.monotonic()
        due = [
            partition
            for partition in self._partitions
            if (seconds := self._due_in(partition, now)) is not None and (is_last or seconds <= 0)
        ]
        if not due:
            return
        server_time = await self._store.records.time_ms()
        for partition in due:
            others = {
                other.partition: other.signed_tree
                for other in self._partitions
                if other is not partition and other.signed_tree.size
            }
            note = partition.checkpoint(server_time, others, now)
            if note is not None:
                for witness in self._witnesses:
                    witness.offer(partition.partition, note)

    async def _beat(self) -> None:
        """Once a second: look whether the store is still what it was, and say how things stand."""
        now = time.monotonic()
        if now < self._beat_at:
            return
        self._beat_at = now + HEARTBEAT_S
        server_time = await self._store.records.time_ms()
        self._started = self._started or server_time
        if self._keys is not None:
            await self._carry_out_request(self._keys)
            await self._look(now)
        status = msgspec.json.encode(self._status(server_time))
        await self._store.records.note_notary(self.notary_id, status)

    async def _carry_out_request(self, keys: CheckpointKeys) -> None:
        try:
            begun = await carry_out_request(self.folder, keys, self._store, self._partitions)
        except (MasError, OSError) as error:
            log.error("restore.failed", reason=str(error))
        else:
            if begun:
                log.warning("restore.accepted", partitions=begun)

    async def _look(self, now: float) -> None:
        heads = await self._store.records.audit_heads()
        for partition, (seq, head) in zip(self._partitions, heads, strict=True):
            if partition.is_refused:
                block = None
                if seq > partition.status.records:
                    number, size = partition.partition, partition.status.records
                    found = await self._store.records.new_audit_blocks({number: size}, 1, 1)
                    block = found[0][1] if found else None
                partition.look_again(seq, head, block, now)
            elif self._is_caught_up or seq < partition.status.records:
                partition.check_head(seq, head, now)

    def _status(self, server_time: int) -> NotaryStatus:
        partitions = tuple(partition.status for partition in self._partitions)
        if self._problem:
            known = partitions or tuple(
                PartitionEvidence(number, "unwritable", 0, 0) for number in range(self._store.width)
            )
            partitions = tuple(
                item if item.problem else msgspec.structs.replace(item, problem=self._problem)
                for item in known
            )
        return NotaryStatus(
            self.notary_id,
            server_time,
            self._started,
            socket.gethostname(),
            os.getpid(),
            str(self.folder),
            partitions,
            tuple(witness.state for witness in self._witnesses),
            time.process_time(),
            self._alarm(),
        )

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("notary.waits", reason=problem)
        self._problem = problem


@contextmanager
def _contained(follower: Follower) -> Iterator[None]:
    """What fails in a follower is its own: the evidence goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told and passed over
        log.error("follower.failed", follower=type(follower).__name__, trace=trace_of(error))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the one process that writes the evidence folder.

    Raises:
        LockHeld: Another one is.
        ConfigurationError: The folder cannot be used.
    """

    def taken(lock: int) -> LockHeld:
        owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
        return LockHeld(
            f"another notary has {folder}, under process {owner or 'unknown'}",
            hint="mas audit notary status",
            owner=owner,
        )

    with file_lock(private_dir(folder) / LOCK_FILE, taken) as lock:
        with contextlib.suppress(OSError):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
