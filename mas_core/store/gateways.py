"""What gateways tell each other and operators tell them: heartbeats, drain orders, news, who owns what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys, Layout
from mas_core.store.layouts import layout_of
from mas_core.store.stored import hash_of

KEPT_NEWS = 16
"""News are there to wake up by; what they are about is read anew."""


@dataclass(frozen=True, slots=True)
class PartitionLease:
    """Who owns a partition, by its meta."""

    owner: str
    """Empty when nobody has it: it is new, or was given up."""
    ends: int
    """When the lease ends, Unix milliseconds by the server's clock."""


@dataclass(frozen=True, slots=True)
class RollCall:
    """All that a gateway has to know before it takes partitions or gives some up."""

    now: int
    """Unix milliseconds by the server's clock."""
    heartbeats: dict[str, bytes]
    orders: dict[str, bytes]
    leases: list[PartitionLease]
    layout: Layout
    """Which partitions there are."""


class GatewayRecords:
    """The gateways of one system."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def call_the_roll(self, gateway_id: str, status: bytes) -> RollCall:
        """Write the heartbeat of a gateway and read what the others say, in one round trip."""
        keys = self._keys
        pipeline = Pipeline()
        pipeline.add("TIME")
        pipeline.add("HSET", keys.gateways(), gateway_id, status)
        pipeline.add("HGETALL", keys.gateways())
        pipeline.add("HGETALL", keys.drain_orders())
        pipeline.add("HGETALL", keys.layout_record())
        for partition in range(keys.width):
            pipeline.add("HMGET", keys.meta(partition), "owner", "lease")
        (seconds, microseconds), _, heartbeats, orders, layout, *leases = await self._connection.run(pipeline)
        return RollCall(
            int(seconds) * 1000 + int(microseconds) // 1000,
            hash_of(heartbeats),
            hash_of(orders),
            [
                PartitionLease((owner or b"").decode(errors="replace"), _number(ends))
                for owner, ends in leases
            ],
            layout_of(hash_of(layout)) or keys.layout,
        )

    async def forget(self, gateway_ids: Sequence[str]) -> None:
        """Remove gateways that ended."""
        if gateway_ids:
            await self._connection.call("HDEL", self._keys.gateways(), *gateway_ids)

    async def heartbeats(self) -> dict[str, bytes]:
        """Gateway id -> its last heartbeat."""
        return hash_of(await self._connection.call("HGETALL", self._keys.gateways()))

    async def drain_orders(self) -> dict[str, bytes]:
        """Gateway id -> the order that it owns nothing."""
        return hash_of(await self._connection.call("HGETALL", self._keys.drain_orders()))

    async def put_drain_order(self, gateway_id: str, order: bytes) -> None:
        """Order that a gateway owns nothing."""
        pipeline = Pipeline()
        pipeline.add("HSET", self._keys.drain_orders(), gateway_id, order)
        await self._connection.run_safely(pipeline)

    async def remove_drain_orders(self, gateway_ids: Sequence[str]) -> None:
        """Take orders back."""
        if gateway_ids:
            await self._connection.call("HDEL", self._keys.drain_orders(), *gateway_ids)

    async def tell_news(self) -> None:
        """Wake all gateways: a partition is free, or an order has changed."""
        await self._connection.call("XADD", self._keys.gateway_news(), "MAXLEN", KEPT_NEWS, "*", "n", "1")

    async def wait_for_news(self, after: str, block_ms: int) -> str:
        """Wait for news after `after`, for so long at most; where to go on."""
        reply = await self._connection.wait(
            "XREAD",
            "COUNT",
            KEPT_NEWS,
            "BLOCK",
            max(1, block_ms),
            "STREAMS",
            self._keys.gateway_news(),
            after,
        )
        entries = [entry.decode() for _, found in reply or () for entry, _fields in found]
        return entries[-1] if entries else after


def _number(value: bytes | None) -> int:
    try:
        return int(value or 0)
    except ValueError:
        return 0
