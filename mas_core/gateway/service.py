"""A gateway: shares the partitions with the other gateways of the system and owns its part of them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mas_core.base.failpoints import failpoint
from mas_core.base.ids import new_instance_id
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import MasError
from mas_core.gateway.directory import Directory
from mas_core.gateway.owner import OwnerSettings, PartitionOwner
from mas_core.gateway.policy_compiler import PolicyCompiler
from mas_core.registry.roster import Roster
from mas_core.security.dlp import load_pack
from mas_core.security.dlp.detectors import open_detectors
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.store.store import Store

log = get_logger(__name__)

BALANCE_INTERVAL_S = 0.25
GATEWAY_EXPIRY_MS = 2_000
"""A gateway counts as running for this long after its last heartbeat."""


class GatewayStatus(msgspec.Struct, frozen=True):
    """What a gateway says of itself."""

    gateway_id: str
    seen: int
    """Unix milliseconds by the server's clock."""
    started: int
    partitions: tuple[int, ...]
    host: str
    pid: int
    messages: int = 0
    cpu_s: float = 0.0
    """Processor time that the whole process has used."""
    alarms: tuple[str, ...] = ()
    """What is wrong and needs an operator, in words."""


class Gateway:
    """Runs until stopped; several gateways of one system share its partitions by lease.

    Args:
        store: The system to serve.
        keys: The keys that all gateways of the system share.
        settings: Limits and switches.
        gateway_id: Name of this gateway; made up when left out.
        replicas: Replicas that must have a commit before it is answered (`ha` profile).
        payload_keys: Folder of the keys that seal copies of payloads, where the policy keeps any.
    """

    def __init__(
        self,
        store: Store,
        keys: GatewayKeys,
        settings: GatewaySettings | None = None,
        *,
        gateway_id: str = "",
        replicas: int = 0,
        payload_keys: Path | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self.settings = settings or GatewaySettings()
        self.gateway_id = gateway_id or f"gw-{new_instance_id()[:8]}"
        self._detectors = open_detectors(
            self.settings.dlp.detectors, timeout_s=self.settings.dlp.detector_timeout_s
        )
        self._compiler = PolicyCompiler(load_pack(self.settings.dlp.pack), self._detectors)
        self._roster = Roster(store.records, keys, store.partitions)
        self._owner_settings = OwnerSettings(
            self.gateway_id,
            lease_ms=self.settings.lease_ms,
            inbox_bound=self.settings.inbox_bound,
            lane_weights=self.settings.lane_weights,
            control_per_minute=self.settings.rate_limit.control_per_minute,
            replicas=replicas,
            audit=self.settings.audit,
            payload_keys=payload_keys,
        )
        self._owners: dict[int, tuple[PartitionOwner, asyncio.Task[None]]] = {}
        self._balancing: asyncio.Task[None] | None = None
        self._started_ms = 0
        self._messages = 0
        self._ready = asyncio.Event()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped, and its event loop still runs."""
        return self._balancing is not None and not self._balancing.done()

    async def start(self) -> None:
        """Start; returns when every partition has an owner, this gateway or another.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        self._started_ms = await self._store.connection.time_ms()
        await self._balance()
        self._balancing = asyncio.create_task(self._keep_balance())
        await self._ready.wait()

    async def stop(self) -> None:
        """Finish the batches in hand, give the leases up and end."""
        if self._balancing is not None:
            self._balancing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._balancing
            self._balancing = None
        await asyncio.gather(*(self._release(partition) for partition in list(self._owners)))
        for detector in self._detectors:
            detector.close()
        with contextlib.suppress(MasError):
            await self._store.records.forget_gateway(self.gateway_id)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _keep_balance(self) -> None:
        while True:
            await asyncio.sleep(BALANCE_INTERVAL_S)
            try:
                await self._balance()
                # Kept up as it goes, so that neither a question nor a change of the policy has much to read.
                await self._roster.refresh()
            except MasError as error:
                log.warning("store.unavailable", reason=error.message)

    async def _balance(self) -> None:
        for partition, (_, task) in list(self._owners.items()):
            if task.done():
                self._messages += self._owners.pop(partition)[0].counters.messages
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.error("partition.failed", partition=partition, trace=trace_of(error))
        now = await self._store.connection.time_ms()
        await self._store.records.note_gateway(self.gateway_id, msgspec.json.encode(self._status(now)))
        failpoint("gateway.heartbeat")
        gateways = live_gateways(await self._store.records.gateways(), now)
        share = math.ceil(self._store.partitions / max(1, len(gateways)))
        for partition in sorted(self._owners)[share:]:
            await self._release(partition)
        for partition in range(self._store.partitions):
            if partition not in self._owners:
                await self._try_to_own(partition, only_orphaned=len(self._owners) >= share)
        if not self._ready.is_set():
            metas = await self._store.records.metas()
            if all(meta.get("owner") for meta in metas):
                self._ready.set()

    async def _try_to_own(self, partition: int, *, only_orphaned: bool) -> None:
        directory = Directory(
            self._store.records,
            self._keys,
            self._store.namespace,
            self._compiler,
            self.settings.max_payload_bytes,
            self._roster,
        )
        owner = PartitionOwner(self._store, partition, self._keys, directory, self._owner_settings)
        if await owner.acquire(only_orphaned=only_orphaned):
            self._owners[partition] = (owner, asyncio.create_task(owner.run()))

    async def _release(self, partition: int) -> None:
        owner, task = self._owners.pop(partition)
        self._messages += owner.counters.messages
        await owner.stop()
        with contextlib.suppress(MasError):
            await task

    def _status(self, now: int) -> GatewayStatus:
        return GatewayStatus(
            self.gateway_id,
            now,
            self._started_ms,
            tuple(sorted(self._owners)),
            socket.gethostname(),
            os.getpid(),
            self._messages + sum(owner.counters.messages for owner, _ in self._owners.values()),
            time.process_time(),
            tuple(dict.fromkeys(alarm for owner, _ in self._owners.values() for alarm in owner.alarms)),
        )


def live_gateways(fields: dict[str, bytes], now: int) -> list[GatewayStatus]:
    """The gateways with a fresh heartbeat, by id."""
    found = []
    for text in fields.values():
        # One that cannot be read is of another version, or somebody else's.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            found.append(msgspec.json.decode(text, type=GatewayStatus))
    return sorted(
        (item for item in found if item.seen + GATEWAY_EXPIRY_MS > now), key=lambda item: item.gateway_id
    )
