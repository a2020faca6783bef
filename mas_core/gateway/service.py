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
from mas_core.base.loop_lag import LoopLag
from mas_core.base.traces import trace_of
from mas_core.errors import MasError
from mas_core.gateway.directory import Directory
from mas_core.gateway.owner import PartitionOwner
from mas_core.gateway.owner_settings import OwnerSettings
from mas_core.gateway.policy_compiler import PolicyCompiler
from mas_core.gateway.schedule import ScheduleBounds
from mas_core.gateway.screening import on_for_all
from mas_core.gateway.server_watch import ServerWatch
from mas_core.gateway.tracing import GatewayTracing
from mas_core.model.gateway_status import GatewayStatus, gateways_in, live_gateways, order_purpose
from mas_core.registry.roster import Roster
from mas_core.registry.signed import verified
from mas_core.security.dlp import load_pack
from mas_core.security.dlp.detectors import open_detectors
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.tracing import tracing_target
from mas_core.store.gateways import RollCall
from mas_core.store.store import Store

log = get_logger(__name__)

BALANCE_INTERVAL_S = 0.5
"""How often a gateway says that it runs and looks who owns what; news and leases that end wake it before."""
LEASE_MARGIN_S = 0.005
"""How long after the end of a lease it is tried to be taken."""
SHORTEST_PAUSE_S = 0.02
DRAIN_SECONDS = 8.0
"""Seconds that batches in hand may take to be finished when a gateway ends."""
FORGET_AFTER_MS = 60_000
"""A gateway that was not heard of for so long is taken off the list."""


class Gateway:
    """Runs until stopped; several gateways of one system share its partitions by lease.

    Args:
        store: The system to serve.
        keys: The keys that all gateways of the system share.
        settings: Limits and switches.
        gateway_id: Name of this gateway; made up when left out.
        payload_keys: Folder of the keys that seal copies of payloads, where the policy keeps any.
    """

    def __init__(
        self,
        store: Store,
        keys: GatewayKeys,
        settings: GatewaySettings | None = None,
        *,
        gateway_id: str = "",
        payload_keys: Path | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self.settings = settings or GatewaySettings()
        self.gateway_id = gateway_id or f"gw-{new_instance_id()[:8]}"
        self._is_named = bool(gateway_id)
        self._detectors = open_detectors(
            self.settings.dlp.detectors, timeout_s=self.settings.dlp.detector_timeout_s
        )
        self._compiler = PolicyCompiler(load_pack(self.settings.dlp.pack), self._detectors)
        self._layout = store.keys.layout
        self._roster = self._new_roster()
        self._is_closed = False
        """Whether the number of partitions is being changed, so that nobody owns any."""
        target = tracing_target(self.settings.tracing)
        self._owner_settings = OwnerSettings(
            self.gateway_id,
            lease_ms=self.settings.lease_ms,
            inbox_bound=self.settings.inbox_bound,
            lane_weights=self.settings.lane_weights,
            control_per_minute=self.settings.rate_limit.control_per_minute,
            audit=self.settings.audit,
            retry=self.settings.retry.as_terms(),
            topics=self.settings.topics.as_rules(),
            schedule=ScheduleBounds(self.settings.schedule.per_sender, self.settings.schedule.total),
            payload_keys=payload_keys,
            tracing=GatewayTracing(target, self.gateway_id) if target is not None else None,
        )
        self._owners: dict[int, tuple[PartitionOwner, asyncio.Task[None]]] = {}
        self._balancing: asyncio.Task[None] | None = None
        self._pausing: asyncio.Task[str] | None = None
        self._is_ending = False
        self._drain_s = DRAIN_SECONDS
        self._is_ordered_to_drain = False
        self._read_news_to = "0-0"
        self._clock = (0, 0.0)
        """What the server's clock last said, and when, by the monotonic clock."""
        self._next_lease_end = math.inf
        """Milliseconds until the first lease of another gateway ends, when it was looked at last."""
        self._lag = LoopLag()
        self._server_watch = ServerWatch(store, keys, lambda: 0 in self._owners)
        self._started_ms = 0
        self._messages = 0
        self._ready = asyncio.Event()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped, and its event loop still runs."""
        return self._balancing is not None and not self._balancing.done()

    async def start(self) -> None:
        """Start; returns when every partition has an owner, this gateway or another, or this one is drained.

        Raises:
            StoreUnreachable: The server does not answer.
        """
        self._is_ending = False
        self._lag.start()
        self._started_ms = await self._store.connection.time_ms()
        self._clock = self._started_ms, time.monotonic()
        await self._store.layouts.follow()
        self._enter_layout()
        await self._balance()
        # Those that own more than their share hear of the new one at once.
        await self._store.gateways.tell_news()
        self._balancing = asyncio.create_task(self._keep_balance())
        await self._server_watch.start()
        await self._ready.wait()

    async def stop(self, within_s: float = DRAIN_SECONDS) -> bool:
        """Finish the batches in hand, hand the partitions over and end.

        Args:
            within_s: Seconds until what is still in hand is left to the next owner, which judges it anew.

        Returns:
            Whether everything in hand was finished.
        """
        self._is_ending, self._drain_s, is_drained = True, within_s, True
        try:
            async with asyncio.timeout(within_s):
                await self._server_watch.stop()
                await self._end_balancing()
                with contextlib.suppress(MasError):
                    # From here on the others count without this one.
                    await self._call_the_roll()
                await asyncio.gather(*(self._release(partition) for partition in list(self._owners)))
                with contextlib.suppress(MasError):
                    await self._store.gateways.forget([self.gateway_id])
                    if not self._is_named:
                        # Nobody will ever have this name again.
                        await self._store.gateways.remove_drain_orders([self.gateway_id])
        except TimeoutError:
            log.error("gateway.undrained", gateway=self.gateway_id, partitions=sorted(self._owners))
            is_drained = False
            await self._cut_short()
        self._lag.stop()
        if self._owner_settings.tracing is not None:
            await self._owner_settings.tracing.end()
        for detector in self._detectors:
            detector.close()
        return is_drained

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _end_balancing(self) -> None:
        """Let the loop finish what it is doing: a partition that is half taken would be nobody's for a while."""
        if self._balancing is not None:
            if self._pausing is not None:
                self._pausing.cancel()
            await asyncio.wait([self._balancing])
            self._balancing = None

    async def _cut_short(self) -> None:
        tasks = [task for _, task in self._owners.values()]
        if self._balancing is not None:
            tasks.append(self._balancing)
            self._balancing = None
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0) if tasks else None
        self._owners.clear()

    async def _keep_balance(self) -> None:
        while not self._is_ending:
            await self._pause()
            if self._is_ending:
                return
            try:
                await self._balance()
                # Kept up as it goes, so that neither a question nor a change of the policy has much to read.
                await self._roster.refresh()
            except MasError as error:
                log.warning("store.unavailable", reason=error.message)
            except Exception as error:  # noqa: BLE001 - a gateway that looks no more takes nothing over
                log.error("balance.failed", trace=trace_of(error))
                await asyncio.sleep(BALANCE_INTERVAL_S)

    async def _pause(self) -> None:
        """Wait until it is time to look again: by the clock, for a lease that ends, or for news."""
        lease_s = self._next_lease_end / 1000 + LEASE_MARGIN_S
        seconds = max(SHORTEST_PAUSE_S, min(BALANCE_INTERVAL_S, lease_s))
        if self._store.connection.is_memory:
            # There is no other gateway in a process's own store, and news would be looked for at every write.
            self._pausing = None
            await asyncio.sleep(seconds)
            return
        self._pausing = asyncio.create_task(
            self._store.gateways.wait_for_news(self._read_news_to, int(seconds * 1000))
        )
        await asyncio.wait([self._pausing])
        if self._pausing.cancelled():
            return
        try:
            self._read_news_to = self._pausing.result()
        except MasError as error:
            log.warning("store.unavailable", reason=error.message)
            await asyncio.sleep(BALANCE_INTERVAL_S)

    async def _call_the_roll(self) -> RollCall:
        told, at = self._clock
        status = self._status(told + int((time.monotonic() - at) * 1000))
        found = await self._store.gateways.call_the_roll(self.gateway_id, msgspec.json.encode(status))
        self._clock = found.now, time.monotonic()
        return found

    async def _balance(self) -> None:
        for partition, (_, task) in list(self._owners.items()):
            if task.done():
                self._messages += self._owners.pop(partition)[0].counters.messages
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.error("partition.failed", partition=partition, trace=trace_of(error))
        found = await self._call_the_roll()
        failpoint("gateway.heartbeat")
        await self._forget_the_gone(found)
        if found.layout.next or found.layout.number != self._layout.number:
            found = await self._change_layout(found)
            if found.layout.next:
                return
        self._is_closed = False
        if self._is_ordered(found) != self._is_ordered_to_drain:
            self._is_ordered_to_drain = not self._is_ordered_to_drain
            # The others have to count without it before it gives anything up, and with it before it takes any.
            found = await self._call_the_roll()
        others = [
            gateway
            for gateway in live_gateways(found.heartbeats, found.now)
            if gateway.gateway_id != self.gateway_id and not gateway.is_draining
        ]
        share = math.ceil(len(found.leases) / (1 + len(others)))
        for partition in sorted(self._owners)[0 if self._is_ordered_to_drain else share :]:
            await self._release(partition)
        if self._is_ordered_to_drain:
            self._next_lease_end = math.inf
            if not self._ready.is_set():
                log.warning("gateway.drained", gateway=self.gateway_id)
                self._ready.set()
            return
        await self._take(found, share)

    async def _change_layout(self, found: RollCall) -> RollCall:
        """Let go of everything while the partitions are being changed, and go over to the new ones after that."""
        if not self._is_closed:
            log.info("layout.left", gateway=self.gateway_id, layout=self._layout.name)
        self._is_closed, self._next_lease_end = True, math.inf
        for partition in sorted(self._owners):
            await self._release(partition)
        if found.layout.next:
            return found
        self._store.keys.follow(found.layout)
        self._enter_layout()
        return await self._call_the_roll()

    def _enter_layout(self) -> None:
        if self._layout.number != self._store.keys.layout.number:
            self._layout = self._store.keys.layout
            log.info("layout.entered", gateway=self.gateway_id, layout=self._layout.name)
            self._roster = self._new_roster()

    def _new_roster(self) -> Roster:
        layout = self._layout
        return Roster(self._store.records, self._keys, layout.partitions, layout.width)

    async def _forget_the_gone(self, found: RollCall) -> None:
        """Gateways that were killed say no goodbye; orders to names that were made up go with them."""
        gone = [
            gateway for gateway in gateways_in(found.heartbeats) if gateway.seen + FORGET_AFTER_MS < found.now
        ]
        if gone:
            await self._store.gateways.forget([gateway.gateway_id for gateway in gone])
            await self._store.gateways.remove_drain_orders(
                [gateway.gateway_id for gateway in gone if not gateway.is_named]
            )

    async def _take(self, found: RollCall, share: int) -> None:
        """Own what nobody has, up to the share, and what a gateway that is gone has left."""
        free, orphaned, ends = [], [], [math.inf]
        for partition, lease in enumerate(found.leases):
            if partition in self._owners:
                continue
            if not lease.owner:
                free.append(partition)
            elif lease.ends <= found.now:
                orphaned.append(partition)
            else:
                ends.append(lease.ends - found.now)
        self._next_lease_end = min(ends)
        room = max(0, share - len(self._owners) - len(orphaned))
        taken = await asyncio.gather(
            *(self._try_to_own(partition, only_orphaned=True) for partition in orphaned),
            *(self._try_to_own(partition, only_orphaned=False) for partition in free[:room]),
        )
        if sum(taken) == len(free) + len(orphaned):
            self._ready.set()

    async def _try_to_own(self, partition: int, *, only_orphaned: bool) -> bool:
        directory = Directory(
            self._store.records,
            self._keys,
            self._store.namespace,
            self._compiler,
            self.settings.max_payload_bytes,
            self._roster,
        )
        owner = PartitionOwner(self._store, partition, self._keys, directory, self._owner_settings)
        if not await owner.acquire(only_orphaned=only_orphaned):
            return False
        self._owners[partition] = (owner, asyncio.create_task(owner.run()))
        return True

    async def _release(self, partition: int) -> None:
        """Let an owner finish the batch in hand and give its lease up; the others are told at once."""
        owner, task = self._owners[partition]
        await owner.stop()
        _, late = await asyncio.wait([task], timeout=self._drain_s)
        if late:
            # Its lease ends by itself; what it has in hand is judged anew by the next owner.
            log.error("partition.undrained", partition=partition)
            task.cancel()
            await asyncio.wait([task])
        if self._owners.pop(partition, None) is None:
            return
        self._messages += owner.counters.messages
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("partition.failed", partition=partition, trace=trace_of(error))
        with contextlib.suppress(MasError):
            await self._store.gateways.tell_news()

    def _is_ordered(self, found: RollCall) -> bool:
        order = found.orders.get(self.gateway_id)
        return order is not None and verified(self._keys, order_purpose(self.gateway_id), order) is not None

    def _status(self, now: int) -> GatewayStatus:
        tracing, work = self._owner_settings.tracing, self._owner_settings.work
        messages = self._messages + sum(owner.counters.messages for owner, _ in self._owners.values())
        in_s, refused_s = work.look(messages)
        return GatewayStatus(
            self.gateway_id,
            now,
            self._started_ms,
            tuple(sorted(self._owners)),
            socket.gethostname(),
            os.getpid(),
            messages,
            time.process_time(),
            self._alarms(),
            self._is_ending or self._is_ordered_to_drain,
            self._is_named,
            self._lag.worst_ms,
            tracing.exported if tracing is not None else 0,
            tracing.dropped if tracing is not None else 0,
            work.refused,
            in_s,
            refused_s,
            work.p95_ms,
            on_for_all(owner.stages_on for owner, _ in self._owners.values() if owner.stages_on is not None),
        )

    def _alarms(self) -> tuple[str, ...]:
        found = dict.fromkeys(alarm for owner, _ in self._owners.values() for alarm in owner.alarms)
        if self._is_closed:
            found["the number of partitions is being changed: messages wait (mas partitions list)"] = None
        return tuple(found)
